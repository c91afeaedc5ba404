"""Replies: what a request asks for, worked out part by part, so that no request holds up the others."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from learner.errors import LearnerError
from learner.messages import one_line
from learner.service.featurizing import featurized_records
from learner.service.wire import MAX_REASON, RawRecord, decode_request, has_records

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["MAX_EXPLAINED", "MAX_PROBABILITIES", "REQUEST_SECONDS", "Reply"]

MAX_EXPLAINED = 20_000  # contributions in one reply
MAX_PROBABILITIES = 200_000  # in one reply
CHUNK, CHUNK_BYTES = 256, 1 << 17  # maps, and bytes of them, that are predicted in one call, about
REQUEST_SECONDS = 10.0  # of work on one request; what is not answered then has an error

Fields = Mapping[bytes, bytes]
Answer = dict[str, Any]
Vector = bytes | RawRecord | LearnerError  # packed features, or what has none yet


class Reply:
    """The reply to one request, as far as it is worked out.

    Parameters
    ----------
    model : Model
        Predicts.
    fields : mapping
        The request's.
    pack : callable
        Returns the packed features of a record: `Model.pack`.

    Attributes
    ----------
    is_single : bool
        Whether it asks for one prediction rather than for many.
    seconds : float
        Of work so far.
    features : bytes
        In msgpack, of the record that was answered last.
    """

    def __init__(self, model: "Model", fields: Fields, pack: Callable[[Any], bytes]) -> None:
        self.model = model
        self.pack = pack
        self.seconds = 0.0
        self.features = b""
        self._explains, self._wants_probabilities = b"explain" in fields, b"probabilities" in fields
        if model.program and has_records(fields) and b"outcome_id" not in fields:
            vectors, self.is_single = featurized_records(fields[b"records"], model), False
        else:
            vectors, self.is_single = decode_request(fields)
        self._answers: list[Answer] = []
        self._parts = ([self._single(vector)] for vector in vectors) if self.is_single else self._of_many(vectors)
        self._n_explained = self._n_probabilities = 0

    def work(self, seconds: float) -> Answer | None:
        """Work for so long, and on one part at least; return the reply if it is complete then."""
        started, before, worked = time.monotonic(), self.seconds, 0.0
        while (some := next(self._parts, None)) is not None:
            self._answers += some
            worked = time.monotonic() - started
            self.seconds = before + worked
            if worked >= seconds:
                return None
        self._parts = iter(())  # what refers to this reply itself would wait for the garbage collector, megabytes of it
        return self._answers[0] if self.is_single else self._columns()

    # ---- one of many ----
    def _of_many(self, vectors: Iterator[Vector]) -> Iterator[list[Answer]]:
        """Yield the answers to many, some at a time; those that need no templates are predicted together."""
        for some in _chunks(vectors):
            is_over = self._explains or self.seconds > REQUEST_SECONDS
            packed = [] if is_over else [vector for vector in some if isinstance(vector, bytes)]
            answers = self.model.answer_each(packed)
            if isinstance(answers, list) and len(answers) == len(some) and self._are_whole(answers):
                yield answers
                continue
            found = iter(answers)  # which may be worked out only now, one by one
            for vector in some:
                yield [self._part(vector, next(found, None) if isinstance(vector, bytes) else None)]

    def _are_whole(self, answers: list[Answer | None]) -> bool:
        """Tell whether answers are there, and stay as they are."""
        return not self._wants_probabilities and self.model.task != "multiclass" and None not in answers

    def _part(self, vector: Vector, answer: Answer | None = None) -> Answer:
        """Return the answer to one of many, if it is not there yet; an error once the reply is full or took too much work."""
        if self.seconds > REQUEST_SECONDS:
            return {
                "error": f"request must take at most {REQUEST_SECONDS:g} s of work (it took more): ask for fewer at once"
            }
        if self._n_explained > MAX_EXPLAINED:
            return {"error": f"contributions must be at most {MAX_EXPLAINED} in a reply (more were asked for)"}
        if self._n_probabilities > MAX_PROBABILITIES:
            return {"error": f"probabilities must be at most {MAX_PROBABILITIES} in a reply (more were asked for)"}
        answer = answer or self._predict(vector)
        self._n_explained += len(answer.get("contributions", ()))
        if self._n_explained > MAX_EXPLAINED:
            return self._part(vector)
        if not self._wants_probabilities:
            answer.pop("probabilities", None)
            return answer
        self._add_probabilities(answer)
        self._n_probabilities += len(answer.get("probabilities", ()))
        return answer if self._n_probabilities <= MAX_PROBABILITIES else self._part(vector)

    def _columns(self) -> Answer:
        """Return the answers to many as columns, with null where one failed."""
        answers = self._answers
        columns: Answer = {
            "task": self.model.task,
            "predictions": [answer.get("prediction") for answer in answers],
            "scores": [answer.get("score") for answer in answers],
        }
        for name, column in (("label", "labels"), ("probabilities", "probabilities")):
            if any(name in answer for answer in answers):
                columns[column] = [answer.get(name) for answer in answers]
        if self._explains:
            columns["contributions"] = [answer.get("contributions") for answer in answers]
        if errors := {str(i): answer["error"] for i, answer in enumerate(answers) if "error" in answer}:
            columns["errors"] = errors
        return columns

    # ---- one alone ----
    def _single(self, vector: Vector) -> Answer:
        """Return the answer to one alone: with probabilities, and the names of fields that say nothing."""
        answer = self._predict(vector, names_unknown=True)
        if "error" in answer:
            return answer
        if len(answer.get("contributions", ())) > MAX_EXPLAINED:
            return {"error": f"contributions must be at most {MAX_EXPLAINED} in a reply (more were asked for)"}
        self._add_probabilities(answer)
        return {"task": self.model.task} | answer

    # ---- both ----
    def _add_probabilities(self, answer: Answer) -> None:
        """Add the probabilities of two classes; an answer about many classes has them already."""
        if "label" in answer and "probabilities" not in answer:
            p = answer["prediction"]
            answer["probabilities"] = dict(zip(self.model.classes, (1.0 - p, p), strict=True))

    def _predict(self, vector: Vector, names_unknown: bool = False) -> Answer:
        """Return an answer, or an error.

        With `names_unknown` it names the record's fields of which the model knows no feature, and the declared ones it lacks.
        """
        try:
            if isinstance(vector, LearnerError):
                raise vector
            packed = self.pack(vector.record) if isinstance(vector, RawRecord) else vector
            answer = self.model.answer(packed, self._explains)
            self.features = packed
            if names_unknown and isinstance(vector, RawRecord):
                unknown = self.model.unknown_fields(vector.record, packed)
                missing = self.model.missing_fields(vector.record)
                answer |= {"unknown_fields": unknown} if unknown else {}
                answer |= {"missing_fields": missing} if missing else {}
        except LearnerError as error:
            return {"error": one_line(str(error), MAX_REASON)}
        return answer


def _chunks(vectors: Iterator[Vector]) -> Iterator[list[Vector]]:
    """Yield vectors some at a time: those with packed features together, the others each alone."""
    some: list[Vector] = []
    n_bytes = 0
    for vector in vectors:
        some.append(vector)
        n_bytes += len(vector) if isinstance(vector, bytes) else CHUNK_BYTES
        if len(some) == CHUNK or n_bytes >= CHUNK_BYTES:
            yield some
            some, n_bytes = [], 0
    yield some
