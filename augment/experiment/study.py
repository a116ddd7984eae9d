"""One run: split, train generators, synthesise, train every arm alike, score once on the test images.

The rules of evidence live here: the split comes first, generators and arms see training images only, all arms have one
budget, and a generative arm is judged against the best arm without synthetic images.
"""

from __future__ import annotations

from dataclasses import replace

from augment import evaluation, registry
from augment.arms import ArmSpec
from augment.datasets import ImageSet
from augment.evaluation import Pending
from augment.evidence.guards import Fingerprint
from augment.experiment import retraining, seed_spread
from augment.experiment.conclusion import result_of
from augment.experiment.config import RunConfig
from augment.experiment.draw import draw_of
from augment.experiment.estimate import within
from augment.experiment.fidelity import scoring
from augment.experiment.identity import identity_of, models_of
from augment.experiment.kept import save_images, save_predictions, write_cards
from augment.experiment.plan import Plan, check_names, prepare, without_test_images
from augment.experiment.repetition import Repetition, add_images, begin, obtain_generator
from augment.progress import Reporter
from augment.results.identity import Identity
from augment.results.run_result import RunResult
from augment.storage import files
from augment.studies.identity import DataFacts
from augment.studies.study import StudyKind


class RunStudy(StudyKind[RunConfig, Plan, RunResult]):
    """A comparison of arms."""

    name = "run"
    config = RunConfig
    result = RunResult

    def prepare(self, config: RunConfig, report: Reporter) -> Plan:
        """Load the data and resolve every default."""
        return prepare(config, report)

    def carry_out(self, plan: Plan, report: Reporter) -> RunResult:
        """All repetitions."""
        return _carry_out(plan, report)

    def models(self, config: RunConfig) -> tuple[str, ...]:
        """All generators that its arms use."""
        registry.get(config.model)  # named as a model, before its arms make a component of it
        return models_of(config)

    def check(self, config: RunConfig) -> None:
        """Models, their options, arms, strategy."""
        check_names(config)

    def identity(self, config: RunConfig, data: DataFacts) -> Identity:
        """What decides the result."""
        return identity_of(config, data)

    def data_of(self, config: RunConfig, report: Reporter) -> ImageSet:
        """Without training images that are test images, too."""
        data = config.load_data(report)
        return without_test_images(data, Fingerprint(data.test.images), Reporter())


STUDY = RunStudy()


def _within_time(plan: Plan, report: Reporter) -> Plan:
    """The plan with the time its generators may take; a resumed run keeps what it had."""
    file = plan.folder / "time.json"
    known = files.read_json(file)
    minutes = known["generator_minutes"] if known is not None else within(plan, report)
    if known is None and plan.config.max_minutes is not None:
        with files.writing(plan.folder):
            files.write_json(file, {"generator_minutes": minutes})
    return replace(plan, generator_minutes=minutes)


def _carry_out(plan: Plan, report: Reporter) -> RunResult:
    """All repetitions; arms without a generator begin first, and workers train them while generators are trained."""
    plan = _within_time(plan, report)
    repetitions = [Repetition(draw_of(plan, index)) for index in range(plan.config.seeds)]
    pending = [_begin(plan, repetition, "classical", report) for repetition in repetitions]
    for repetition, begun in zip(repetitions, pending, strict=True):
        for model in plan.models:
            repetition.trained[model] = obtain_generator(plan, repetition.draw, model, report)
        begun += _begin(plan, repetition, "generative", report)
        save_images(plan, repetition)
    scores = plan.compute.queue.submit(scoring(plan, repetitions[0], report).compute)
    repeats = seed_spread.begin(plan, repetitions, report) if plan.config.seeds > 1 else []
    report.stage("Train classifiers and score the samples")
    entries = [(repetition, entry) for repetition, begun in zip(repetitions, pending, strict=True) for entry in begun]
    for done, (repetition, entry) in enumerate(entries):
        report.advance(done, len(entries), f"{entry.arm}{repetition.draw.label}")
        repetition.results += evaluation.collect([entry], repetition.draw.data, plan.compute.queue)
    spreads = seed_spread.collect(plan, repetitions, repeats)
    retraining.train_again(plan, repetitions, report)
    (fidelity,) = plan.compute.queue.results([scores])
    found = result_of(plan, repetitions, fidelity, spreads)
    save_predictions(plan, repetitions)
    write_cards(plan, repetitions, found)
    return found


def _begin(plan: Plan, repetition: Repetition, family: str, report: Reporter) -> list[Pending]:
    """Begin the arms of one family; their images are made first."""
    specs: list[ArmSpec] = [spec for spec in plan.arms if spec.family == family]
    for spec in specs:
        add_images(plan, repetition, spec, report)
    return list(begin(plan, repetition, specs))
