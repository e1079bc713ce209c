"""`review-training adapt`: an encoder and texts without labels in, the encoder that knows such texts better out."""

import json
from typing import Any

from consumer.errors import UsageError
from training.adaptation.output import Adapted, check_places, record_of, write_adapted
from training.adaptation.texts import Work, read_work
from training.data.reviews import drawn
from training.encoders.base import check_length, find_base, local_directory, longest_of, quiet_transformers
from training.encoders.device import best_device
from training.encoders.freezing import freeze
from training.encoders.masked import load_masked, tokens_of
from training.encoders.parallel import Ranks, joined, the_only_run
from training.io.output import whole
from training.io.progress import say
from training.loop.masked import LEAST_TOKENS, MaskedRows, Masking, TokenLoss, rows_of, usual_length
from training.loop.run import Lesson, Saving, begin, train
from training.loop.state import Validation
from training.loop.validation import measure_tokens
from training.measure.answering.kept_answers import key_sha256, texts_sha256
from training.settings import AdaptSettings, FitSettings

#: Tokens of a piece at most, unless more are asked for: the cost of attention grows with its square.
USUAL_MOST = 256

#: Texts whose lengths decide how long a piece is.
SAMPLE = 2_000

#: The perplexity of the base, beside the checkpoints.
BEFORE = "before.json"


def adapt(base_name: str, settings: AdaptSettings, work: Work) -> Adapted | None:
    """Train the encoder `base_name` to predict masked tokens of texts, and write it as a base for `fit` and `distil`.

    Args:
        base_name: directory or hub name of a pretrained encoder.
        settings: what determines the weights.
        work: the texts, and where the encoder and the state of the run go.

    Returns:
        The perplexity before and after; None in the processes of torchrun after the first.

    Raises:
        UsageError: base, texts or directories cannot be used, the checkpoint is of another run, or another run uses its
            directory.
        GaveUp: the state of the run or the encoder cannot be written any more.
        training.loop.run.Interrupted: SIGINT or SIGTERM came while training; the work so far has been saved.
    """
    quiet_transformers()
    read = [*(("--texts", path) for path in work.texts), *(("--test", path) for path in work.tests)]
    check_places(work, [*read, ("--base", local_directory(base_name))])
    base = find_base(base_name)
    masking = Masking(*tokens_of(base), settings.masked_share, settings.seed)
    model, new_head = load_masked(base, settings.seed)
    if new_head:
        say(f"{base.name} has no head for masked tokens: a new one is trained with it, so its perplexity begins high")
    freeze(model, settings.freeze)
    if settings.max_length:
        check_length(model.config, settings.max_length, "--max-length")
    texts = read_work(work, settings)
    longest = min(USUAL_MOST, longest_of(model.config) or USUAL_MOST)
    sample = [texts.trained[row] for row in drawn(len(texts.trained), SAMPLE, settings.seed)]
    length = settings.max_length or usual_length(sample, base, longest)
    rows, held = (rows_of(part, base, length, masking) for part in (texts.trained, texts.held_out))
    if not rows.reviews or not held.reviews:
        raise UsageError(f"the texts are too short to learn from: give some of at least {LEAST_TOKENS} tokens")
    pieces = len(rows.reviews)
    say(f"{len(texts.trained)} texts to train on, in {pieces} pieces of at most {length} tokens")
    say(f"{len(texts.held_out)} texts, in {len(held.reviews)} pieces, measure the perplexity and are not trained on")
    identity = {
        "base_sha256": base.sha256,
        "texts_sha256": texts_sha256(texts.trained),
        "held_out_sha256": texts_sha256(texts.held_out),
        "settings": settings.identity(length),
    }
    saving, loop = Saving(work.directory, identity, work.checkpoint_minutes * 60), settings.of_loop(length)
    with the_only_run("--checkpoints", work.directory), joined(best_device()) as ranks:
        start = begin(loop, saving, ranks)
        model.to(ranks.device)
        loop = loop.model_copy(update={"precision": start.settled.precision})
        before = _before(model, held, loop, saving, ranks)
        lesson = Lesson(rows, held, TokenLoss(rows), measure_tokens)
        state = train(model, lesson, loop, saving, start=start, ranks=ranks)
        after = state.epochs[-1].validation
        if not ranks.first or after is None:
            return None
        result = Adapted(before, after, new_head, length, pieces)
        write_adapted(work.out, model.cpu(), base, record_of(base, settings, texts, result, state), result)
    if new_head:
        say("the perplexity before was that of an untrained head: its fall says nothing about the encoder")
    if after.loss >= before.loss:
        say(
            "the perplexity did not fall: the base knows such texts already, or --epochs or --learning-rate are too low"
        )
    return result


def _before(model: Any, held: MaskedRows, settings: FitSettings, saving: Saving, ranks: Ranks) -> Validation:
    """The base measured on `held`, once for a run; `model` still has its weights."""
    path, key = saving.directory / BEFORE, key_sha256(saving.identity)
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        kept = {}
    if ranks.of_first(kept.get("run") == key):
        return Validation(kept["loss"], kept["accuracy"])
    say("measuring the base")
    found = measure_tokens(model, held, settings, ranks)
    say(f"before: {found.in_words()}")
    if ranks.first:
        with whole(path) as partial:
            partial.write_text(json.dumps({"run": key, "loss": found.loss, "accuracy": found.accuracy}))
    return found
