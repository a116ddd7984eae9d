"""Results made by hand, for what reads them: every field has a value, and a test names those that it is about."""

from __future__ import annotations

from dataclasses import replace

from augment.evidence.statistics import Drawn
from augment.evidence.verdict import Guard, Verdict
from augment.metrics.scores import FidelityScores, Score
from augment.results.features_result import Chosen, EncoderInfo, FeaturesResult, FewLabelScores, Protocol
from augment.results.run_result import (
    AddedImages,
    ArmScores,
    ClassScores,
    RegimeInfo,
    RunResult,
    ScoredOn,
)
from augment.results.study_result import Cost, DatasetInfo, Environment, GeneratorIdentity, GeneratorInfo, Identity
from augment.training.recipe import Recipe, TrainingRecord

MADE_IN = Environment("0", "3.11.99", "2", "2", "somewhere", "some", "cpu", 1)


def dataset_info(name="toy", classes=("a", "b"), sha256="a" * 64, **more) -> DatasetInfo:
    return replace(DatasetInfo(name, sha256, 1, 4, 4, tuple(classes)), **more)


def generator_info(name="m", **more) -> GeneratorInfo:
    return replace(GeneratorInfo(name, {"steps": 20}, "0", 20, "finished", 1.0, 9.0, False, "cpu", "fp32"), **more)


def training_record(*, classes=(), stopped="finished", seconds=1.0):
    """Of a ``vae`` that was trained for five steps."""
    recipe = Recipe("vae", {}, classes, "1", "", "", 0, 5, None, "cpu", "fp32")
    return TrainingRecord(recipe.key, recipe, 5, seconds, 1.0, stopped, None, 0)


def arm_scores(arm, classifier="cnn", family="classical", *, seed=0, accuracy=0.5, classes=("a", "b"), **more):
    """A row with this accuracy in every class, of ten test images each; the wrong ones are of the next class."""
    n, good = len(classes), round(10 * accuracy)
    confusion = [[good if j == i else 10 - good if j == (i + 1) % n else 0 for j in range(n)] for i in range(n)]
    row = ArmScores(
        arm=arm,
        classifier=classifier,
        seed=seed,
        updates=20,
        accuracy=accuracy,
        trainings=(accuracy,),
        balanced_accuracy=accuracy,
        seconds=1.0,
        cached=False,
        per_class=tuple(ClassScores(name, accuracy, accuracy, accuracy, 10) for name in classes),
        confusion=tuple(map(tuple, confusion)),
        family=family,
    )
    return replace(row, **more)


def fidelity_scores(extractor="toy", n=9, n_reference=9, extractor_sha256="b" * 64, **values) -> FidelityScores:
    """values: scores by name, each a number or a whole Score."""
    scores = {name: value if isinstance(value, Score) else Score(value) for name, value in values.items()}
    return FidelityScores(extractor, extractor_sha256, n, n_reference, scores)


def added_images(arm="m", class_counts=(1, 2), **more) -> AddedImages:
    return replace(AddedImages(arm, "synthetic", "m", "partial:share=0.3", tuple(class_counts), None), **more)


def run_result(**changes) -> RunResult:
    """A run of two arms, whose verdict is "no evidence"; ``changes`` by the name of a field."""
    data = changes.pop("dataset", dataset_info())
    counts = (20,) * len(data.classes)
    made = RunResult(
        dataset=data,
        guards=(Guard("fair", True, "as it should be"),),
        environment=MADE_IN,
        finished_at="2020-01-01T00:00:00+00:00",
        cost=Cost(2.5, 1.0, 2.0),
        seconds=2.5,
        identity="0123456789abcdef",
        scored_on=ScoredOn("test", 10 * len(data.classes)),
        regime=RegimeInfo("high", sum(counts), counts, counts, {"many": data.classes}, 0, "c" * 64),
        generators=(generator_info(),),
        synthetic=(added_images(class_counts=counts),),
        seeds=(0,),
        drawn=Drawn(),
        arms=(
            arm_scores("real", classes=data.classes),
            arm_scores("m", family="generative", classes=data.classes),
        ),
        fidelity=fidelity_scores(),
        comparisons=(),
        effects=(),
        spread=(),
        verdicts=(Verdict("No evidence that it helps: made by hand.", "no evidence", "cnn", "m", "real", 0.0),),
    )
    return replace(made, **changes)


def few_label_scores(method="m", probe="linear", k=1, accuracy=0.5, **more) -> FewLabelScores:
    row = FewLabelScores(method, probe, None, None, k, accuracy, None, 1, (accuracy,), (), 0.5)
    return replace(row, **more)


def features_result(**changes) -> FeaturesResult:
    """A feature study of one method with one probe at one k; ``changes`` by the name of a field."""
    info = vars(generator_info(changes.pop("model", "m")))
    made = FeaturesResult(
        dataset=dataset_info(),
        guards=(Guard("fair", True, "as it should be"),),
        environment=MADE_IN,
        finished_at="2020-01-01T00:00:00+00:00",
        cost=Cost(2.5, 1.0, 2.0),
        seconds=2.5,
        identity="fedcba9876543210",
        generator=EncoderInfo(**info, folder=None, trained=1, labels_seen="none", encode={}),
        protocol=Protocol((1,), 1, (0,), 100, 20, ("linear",), (), "inside", None, "100 unlabelled training images"),
        chosen=Chosen(None, None, 8),
        map=None,
        baselines=("pixels", "cnn"),
        rows=(few_label_scores(),),
        comparisons=(),
        verdict="No evidence: made by hand.",
    )
    return replace(made, **changes)


def identity(model="m", *, options=None, arms=("real", "m"), **settings) -> Identity:
    """``config.json`` of a run with these settings; options: of the generator."""
    asked = {
        **{"dataset": "toy", "model": model, "regime": "high", "size": 60, "imbalance_factor": 100.0, "seed": 0},
        **{"seeds": 1, "regime_seed": 0, "strategy": "partial:share=0.3", "updates": 20, "score_on": "test"},
        **{"steps": 20, "options": {"lr": 0.1, **(options or {})}, "arms": list(arms)},
        **{"classifiers": ["cnn"], "spread": False, "device": "cpu", "precision": "fp32", "fidelity_images": 50},
        **settings,
    }
    generator = GeneratorIdentity({"steps": 20, "lr": 0.1, **(options or {})}, "0", "c0de")
    left_out = ("dataset", "options", "steps")
    decided = {**{name: value for name, value in asked.items() if name not in left_out}, "arms": list(arms)}
    return Identity(RunResult.schema, asked, decided, "a" * 64, {model: generator}, "c0de", "2")


def features_identity(model="m", *, options=None, **settings) -> Identity:
    """``config.json`` of a feature study with these settings; options: of the generator."""
    asked = {
        "dataset": "toy",
        "model": model,
        "episodes": 1,
        "probes": ["linear"],
        "seed": 0,
        "device": "cpu",
        **settings,
    }
    generator = GeneratorIdentity({"steps": 20, "lr": 0.1, **(options or {})}, "0", "c0de")
    return Identity(FeaturesResult.schema, asked, asked, "a" * 64, {model: generator}, "c0de", "2")


def with_settings(made: Identity, **changes) -> Identity:
    """A copy with other settings, also among what decides where they stand there."""
    decided = {name: changes.get(name, value) for name, value in made.decided.items()}
    return replace(made, settings={**made.settings, **changes}, decided=decided)


def with_options(made: Identity, **changes) -> Identity:
    """A copy with other options of its own generator."""
    own, generator = next(iter(made.generators.items()))
    changed = replace(generator, options={**generator.options, **changes})
    asked = {**made.settings, "options": {**made.settings.get("options", {}), **changes}}
    return replace(made, settings=asked, generators={**made.generators, own: changed})
