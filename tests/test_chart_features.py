"""Data of the charts of feature studies: what the result and its folder hold, and nothing where they hold nothing."""

import numpy as np
from made_results import dataset_info, features_result, few_label_scores

from augment.report.chart import Scatter
from augment.report.features_charts import features_charts
from augment.results.embeddings import Embedding, Embeddings
from augment.results.features_result import Candidate, SearchMap
from augment.results.records import FeaturesRecord


def features_record(folder, **more):
    rows = tuple(
        few_label_scores(method, probe, k, 0.5 + k / 100, t=t, layer=layer, ci95=ci95)
        for method, probe, t, layer, ci95 in (
            ("m1", "linear", 5, "mid", (0.4, 0.7)), ("m1", "linear", 9, "mid", None),
            ("pixels", "linear", None, None, (0.1, 0.9)), ("cnn", None, None, None, None),
            ("m1", "mlp", 5, "mid", None),
        )
        for k in (4, 1)
    )  # fmt: skip
    made = features_result(model="m1", dataset=dataset_info("set"), **{"rows": rows, **more})
    return FeaturesRecord(folder, made, {})


def test_a_chart_for_each_head_with_headless_methods_in_each(tmp_path):
    linear, mlp = features_charts(features_record(tmp_path))
    assert [(line.name, line.rank) for line in linear.series] == [
        ("m1, t 5, mid", 0),
        ("m1, t 9, mid", 1),
        ("pixels", None),
        ("cnn", None),
    ]
    assert [line.name for line in mlp.series] == ["cnn", "m1"] and linear.x_log and linear.percent
    first = linear.series[0]
    assert (first.x, first.y, first.low, first.high) == ((1, 4), (0.51, 0.54), (0.4, 0.4), (0.7, 0.7))
    assert linear.series[3].low == (None, None)


def test_the_map_of_t_and_layers_frames_the_choice(tmp_path):
    grid = tuple(Candidate(t, layer, t / 100) for layer in ("up", "mid") for t in (50, 0))[:-1]
    found = SearchMap(grid, Candidate(50, "mid", 0.5), labels_per_class=1, validation_images=10)
    layers, over_t = features_charts(features_record(tmp_path, rows=(), map=found))
    assert (layers.y, layers.x, layers.frame) == (("up", "mid"), ("0", "50"), (1, 1))
    assert layers.values == ((0.0, 0.5), (None, 0.5)) and layers.text[0] == ("0.0", "50.0")
    assert over_t.x_labels == ("0", "50") and over_t.series[1].x == (1,) and over_t.series[0].y == (0.0, 0.5)


def test_embeddings_are_read_thinned_and_grouped(tmp_path):
    assert features_charts(features_record(tmp_path, rows=())) == []
    labels = np.arange(4000) % 2
    flat, deep = (np.stack([labels] * dimensions, axis=1).astype("float32") for dimensions in (2, 3))
    maps = (Embedding("PCA, 2-D", "pca", ("a", "b"), flat), Embedding("t-SNE, 3-D", "tsne", (), deep))
    Embeddings(("no", "yes"), labels, maps, np.zeros((4000, 1, 4, 4), np.uint8)).save(tmp_path)
    first, second = features_charts(features_record(tmp_path, rows=()))
    assert isinstance(first, Scatter) and first.axes == ("a", "b") and second.axes == ()
    assert [(group.name, group.index, set(group.points)) for group in first.groups] == [
        ("no", 0, {(0.0, 0.0)}), ("yes", 1, {(1.0, 1.0)}),
    ]  # fmt: skip
    assert 1000 < sum(len(group.points) for group in second.groups) <= 1500
    (tmp_path / "embeddings.safetensors").write_bytes(b"damaged")
    assert features_charts(features_record(tmp_path, rows=())) == []
