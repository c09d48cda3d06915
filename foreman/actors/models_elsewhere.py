"""The models of other nodes' targets, as far as these have told of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from foreman.domain.errors import TargetError, TargetUnavailable
from foreman.domain.job import LoadKey, model_of, node_of
from foreman.domain.nodes import TargetReport
from foreman.queue.outlook import Outlook
from foreman.queue.sites import SiteElsewhere
from foreman.targets.model_names import ollama_form
from foreman.targets.protocol import Model

_listing = msgspec.json.Decoder(list[Model])


class ModelsElsewhere:
    """The models of the targets of other nodes."""

    def __init__(self, outlook: Outlook) -> None:
        self._outlook = outlook
        self._read: dict[str, _Listing] = {}  # by target

    @property
    def any_open(self) -> bool:
        """Return True if one of the targets takes jobs."""
        return any(site.open for site in self._outlook.sites_elsewhere.values())

    def lists(self) -> list[Sequence[Model]]:
        """Return the models of each target; an unchanged list is the same object."""
        return [listing.models for listing in self._listings()]

    def find(self, name: str) -> Model | None:
        """Return the model with this name or alias, of a target that takes jobs before one that takes none."""
        return next((found for one in self._listings() if (found := one.find(name)) is not None), None)

    def loaded(self) -> list[Model]:
        """Return the models that the targets have loaded, without targets that are away."""
        there = {site.name for site in self._sites() if site.open}
        listings = [one for one in self._listings() if one.report.name in there]
        found = [one.find(model_of(key)) for one in listings for key in one.report.loaded]
        return [model for model in found if model is not None]

    def nodes(self, key: LoadKey, endpoint: str) -> list[str]:
        """Return the nodes with a target that takes calls of the key, those first that have it loaded."""
        able = [site for site in self._sites() if site.open and site.serves(key, endpoint)]
        able.sort(key=lambda site: not site.is_loaded(key))
        return list(dict.fromkeys(node_of(site.name) for site in able))

    def why_unknown(self) -> TargetError | None:
        """Return why a model that none of them has may come to be known, if it may."""
        unlisted = (site.name for site in self._sites() if not site.models_known)
        return next((TargetUnavailable(one, "it has not listed its models yet") for one in unlisted), None)

    def _sites(self) -> list[SiteElsewhere]:
        sites = [site for site in self._outlook.sites_elsewhere.values() if isinstance(site, SiteElsewhere)]
        return sorted(sites, key=lambda site: not site.open)

    def _listings(self) -> Iterator[_Listing]:
        sites = self._sites()
        if len(self._read) > len(sites):
            self._read.clear()
        for site in sites:
            known = self._read.get(site.name)
            if known is None or known.report is not site.report:
                known = _Listing(site.report, known)
                self._read[site.name] = known
            yield known


class _Listing:
    """The models of one target."""

    def __init__(self, report: TargetReport, before: _Listing | None = None) -> None:
        self.report = report
        self.models: Sequence[Model]
        self._index: dict[str, Model]
        if before is not None and before.report.listing == report.listing:
            self.models, self._index = before.models, before._index
        else:
            self.models = _listing.decode(report.listing)
            self._index = {}
            for model in self.models:
                self._index.setdefault(self._same(model.name), model)
            for model in self.models:
                for alias in model.aliases:
                    self._index.setdefault(self._same(alias), model)

    def find(self, name: str) -> Model | None:
        return self._index.get(self._same(name))

    def _same(self, name: str) -> str:
        """Return the canonical form of a name: Ollama's `name:latest` is another server's `name`."""
        return (ollama_form(name) if self.report.is_ollama else name).removesuffix(":latest")
