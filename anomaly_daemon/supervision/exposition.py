"""Merges the metrics of several processes into one Prometheus exposition: every series is labelled with its process's
number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

LABEL = "process"
"""The label with the process number. Values are not summed, because a lag, a readiness or a budget is not a sum. A
reader can sum those that are."""


class Merged(Collector):
    """A collector of several expositions, in which families of the same name become one."""

    def __init__(self, texts: Mapping[int, str], own: Iterable[Metric] = ()) -> None:
        """`texts` has the exposition of each process by its number; the metrics of `own` are added unchanged."""
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
        """Return the merged exposition."""
        return generate_latest(self)
