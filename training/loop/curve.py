"""How the loss and the learning rate of a run went, step by step, in a bounded number of points."""

from dataclasses import dataclass, replace

#: When a curve has this many points, two neighbours become one: it stays small however long the run is.
MOST = 400


@dataclass(frozen=True)
class Point:
    """The steps after those of the point before, up to `step`: their mean loss in nats, and the rate of the last."""

    step: int
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class Curve:
    """Points of `every` steps each; the last one may cover fewer.

    It depends on the steps alone, so that a run that was resumed has the curve of one that was not.
    """

    points: tuple[Point, ...] = ()
    every: int = 1

    def after_step(self, step: int, loss: float, learning_rate: float) -> "Curve":
        """One step further: number `step`, from 1 on."""
        begun = (step - 1) % self.every  # steps that the last point covers, if it is not complete
        if begun and self.points:
            last = self.points[-1]
            mean = (last.loss * begun + loss) / (begun + 1)
            return replace(self, points=(*self.points[:-1], Point(step, mean, learning_rate)))
        points = (*self.points, Point(step, loss, learning_rate))
        if len(points) <= MOST:
            return replace(self, points=points)
        return Curve(points[:-1], self.every)._halved().after_step(step, loss, learning_rate)

    def _halved(self) -> "Curve":
        """The same with two points in one; `MOST` is even, and every point is complete."""
        pairs = zip(self.points[::2], self.points[1::2], strict=True)
        halved = (replace(second, loss=(first.loss + second.loss) / 2) for first, second in pairs)
        return Curve(tuple(halved), 2 * self.every)
