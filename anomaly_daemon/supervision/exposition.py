"""The metrics of several processes as one Prometheus exposition: every series with its process's number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

LABEL = "process"
"""Not summed here: a lag, a readiness or a budget is not a sum. Whoever reads it can sum what is."""


class Merged(Collector):
    """Families of the same name become one."""

    def __init__(self, texts: Mapping[int, str], own: Iterable[Metric] = ()) -> None:
        """`texts` by process number; `own` are added as they are."""
        self._families = {metric.name: metric for metric in own}
        for number, text in texts.items():
            for family in text_string_to_metric_families(text):
                self._add(family, str(number))

    def _add(self, family: Metric, number: str) -> None:
        one = self._families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        one.samples += [sample._replace(labels={LABEL: number, **sample.labels}) for sample in family.samples]

    def collect(self) -> Iterator[Metric]:
        yield from self._families.values()

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self)
