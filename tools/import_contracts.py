"""Import-linter contracts of our own: they name roles, so a new domain is held to them without a line here.

A domain is a package that has an `endpoints`, `service` or `repository` module. Direct imports are judged:
what a service uses behind its own door is its own affair.
"""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class OwnRepository(Contract):
    """A domain's repository and endpoints belong to it; others call its service."""

    package = fields.StringField()
    private = fields.ListField(subfield=fields.StringField())
    readers = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find every direct import of a private module from outside its domain."""
        private: list[str] = self.private  # pyright: ignore[reportAssignmentType]
        readers: list[str] = self.readers  # pyright: ignore[reportAssignmentType]
        found: list[str] = []
        for module in sorted(graph.modules):
            domain, _, role = module.rpartition(".")
            if role not in private or domain == self.package:
                continue
            found += [
                f"{importer} imports {module}: use {domain}.service"
                for importer in sorted(graph.find_modules_that_directly_import(module))
                if not importer.startswith(f"{domain}.")
                and importer != domain
                and importer not in readers
            ]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each import that may not be."""
        for line in check.metadata["found"]:
            output.print_error(line)


class Entrance(Contract):
    """The modules at the top import everything and are imported by nobody but each other."""

    modules = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find every import of an entrance from below."""
        modules: list[str] = self.modules  # pyright: ignore[reportAssignmentType]
        found = [
            f"{importer} imports {module}: move what both need below"
            for module in modules
            if module in graph.modules
            for importer in sorted(graph.find_modules_that_directly_import(module))
            if importer not in modules
        ]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each import that may not be."""
        for line in check.metadata["found"]:
            output.print_error(line)
