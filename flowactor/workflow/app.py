"""The typed registry: which workflow types, in which versions, a node can run."""

from collections.abc import Iterable

from flowactor.errors import ConfigurationError, InvalidInput, UnknownWorkflowType
from flowactor.workflow.definition import WorkflowDefinition, definition_of

__all__ = ["App"]


class App:
    """The workflows of a service.

    Args:
        workflows: classes decorated with ``@workflow``; several versions of one type may be among
            them.
        name: for people.

    Raises:
        ConfigurationError: it is no list, a class is no workflow, a (type, version) is there twice,
            or a type hint names something that does not exist.
    """

    def __init__(self, workflows: Iterable[type], *, name: str = "app") -> None:
        given: object = workflows
        if isinstance(given, type) or not isinstance(given, Iterable):
            shown = given.__name__ if isinstance(given, type) else "MyWorkflow"
            raise ConfigurationError(
                f"App takes a list of workflow classes, not {given!r}: write fa.App([{shown}])"
            )
        self.name = name
        definitions: dict[tuple[str, int], WorkflowDefinition] = {}
        for cls in workflows:
            try:
                definition = definition_of(cls)
            except InvalidInput as error:
                raise ConfigurationError(str(error)) from None
            key = (definition.name, definition.version)
            if key in definitions:
                raise ConfigurationError(
                    f"{definition.name} v{definition.version} is registered twice: "
                    f"{definitions[key].cls.__qualname__} and {cls.__qualname__}; change a version"
                )
            definition.resolve()
            definitions[key] = definition
        self._definitions = dict(sorted(definitions.items()))

    @property
    def registered(self) -> tuple[tuple[str, int], ...]:
        """All (type, version), sorted."""
        return tuple(self._definitions)

    @property
    def definitions(self) -> tuple[WorkflowDefinition, ...]:
        """All definitions, sorted by type and version."""
        return tuple(self._definitions.values())

    def find(self, workflow_type: str, version: int) -> WorkflowDefinition | None:
        """The definition, or None if it is not registered here."""
        return self._definitions.get((workflow_type, version))

    def get(self, workflow_type: str, version: int = 0) -> WorkflowDefinition:
        """The definition; version 0 is the highest.

        Raises:
            UnknownWorkflowType: lists what is registered.
        """
        if version == 0:
            versions = [known for name, known in self._definitions if name == workflow_type]
            version = max(versions, default=0)
        found = self.find(workflow_type, version)
        if found is None:
            listed = ", ".join(f"{name} v{known}" for name, known in self._definitions) or "nothing"
            asked = f"{workflow_type!r} version {version}" if version else repr(workflow_type)
            raise UnknownWorkflowType(f"{asked} is not registered; registered are: {listed}")
        return found
