"""How a mistake in the settings is told: one sentence each, naming the thing, where it stands, and the fix.

All mistakes of a start are told together, so that one correction is enough. A value is shown unless it may be a
secret that was put into the wrong place.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from worker.errors import ConfigError, CredentialError, WorkerError

# What Kubernetes and Docker set for a service of a name like ours. A `PORT` alone is theirs only with an address in it.
_PLATFORMS_OWN = re.compile(
    r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)=.*"
    r"|(\w+_)?PORT=(tcp|udp|sctp)://.*"
)
_NOT_JSON = frozenset({"tuple_type", "model_type", "model_attributes_type"})


@dataclass(frozen=True, slots=True)
class Sources:
    """Where settings come from, the strongest last: the file, the environment, the credentials."""

    prefix: str
    file: Path | None = None
    table: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    credentials: Path | None = None

    def place(self, names: Sequence[str]) -> str:
        """Where the value stands that won; for a whole group, everything that took part in it."""
        wanted = {f"{self.prefix}{'__'.join(names[:end])}".upper() for end in range(1, len(names) + 1)}
        wanted.add(names[0].upper())
        files = self.credentials.iterdir() if self.credentials is not None else ()
        if held := sorted(file.name for file in files if file.name.upper() in wanted):
            return f"the credential {held[0]}"
        inner = f"{self.prefix}{'__'.join(names)}__".upper()
        variables = sorted(
            name for name in self.environ if name.upper() in wanted or name.upper().startswith(inner)
        )
        if self._in_file(names) and (
            not variables or all(name.upper().startswith(inner) for name in variables)
        ):
            variables.append(str(self.file))
        return " and ".join(variables) or str(self.file or "the environment")

    def _in_file(self, names: Sequence[str]) -> bool:
        value: Any = self.table
        for name in names:
            if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
                value = value[int(name)]
            elif isinstance(value, Mapping) and name in value:
                value = value[name]
            else:
                return False
        return True


def together(mistakes: Sequence[WorkerError]) -> WorkerError:
    """One error for them all: its first line says how many there are, each line after it is one."""
    if len(mistakes) == 1:
        return mistakes[0]
    keys_only = all(isinstance(mistake, CredentialError) for mistake in mistakes)
    text = "\n".join([f"{len(mistakes)} settings are wrong:", *(f"  {mistake}" for mistake in mistakes)])
    return CredentialError(text) if keys_only else ConfigError(text)


def unknown_variables(
    model: type[BaseModel], sources: Sources, allowed: Collection[str]
) -> list[WorkerError]:
    """Variables with our prefix that set nothing: a misspelt one would be ignored in silence."""
    fields = {name for name, info in model.model_fields.items() if info.validation_alias is None}
    groups = {name: group for name in fields if (group := group_of(model, name)) is not None}
    found: list[WorkerError] = []
    for variable in sorted(set(sources.environ) - set(allowed)):
        if not variable.upper().startswith(sources.prefix):
            continue
        rest = variable.upper().removeprefix(sources.prefix)
        head, _, inner = rest.lower().partition("__")
        told = f"{rest}={sources.environ[variable]}"
        if _PLATFORMS_OWN.fullmatch(told) or (head in fields and not inner):
            continue
        word, known = (inner, set(groups[head].model_fields)) if head in groups else (head, fields)
        if head in groups and word in known:
            continue
        hint = _joined_too_closely(rest.lower(), groups, sources.prefix) or _hint(word, known)
        found.append(ConfigError(f"Unknown setting {variable} in the environment{hint}"))
    return found


def _joined_too_closely(rest: str, groups: Mapping[str, type[BaseModel]], prefix: str) -> str:
    """The hint for a group and a name with one underscore between them, as most programs want it; "": it is none."""
    meant = (
        f"{group}__{rest.removeprefix(f'{group}_')}"
        for group, model in groups.items()
        if rest.removeprefix(f"{group}_") in model.model_fields
    )
    return next((f": did you mean `{prefix}{name.upper()}`?" for name in meant), "")


def of_validation(
    error: ValidationError, model: type[BaseModel], sources: Sources, secrets: Collection[str]
) -> list[WorkerError]:
    """What pydantic found, but for what was told of already: unknown variables, and `secrets` in the file."""
    details = error.errors()
    unknown = [detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
    variables = {variable.upper() for variable in sources.environ}
    told = []
    for detail in details:
        *path, name = (str(part) for part in detail["loc"])
        match detail["type"]:
            case "extra_forbidden":
                variable = sources.prefix + "__".join([*path, name]).upper()
                if variable in variables or name.lower() in secrets:
                    continue
            case "missing" if any(_misspells(near, [*path, name]) for near in unknown):
                continue  # the misspelling is the news
        told.append(_sentence(detail, model, sources))
    return told


def _misspells(near: Sequence[str | int], names: Sequence[str]) -> bool:
    *path, name = (str(part) for part in near)
    return path == [*names[:-1]] and bool(difflib.get_close_matches(name, names[-1:]))


def group_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    info = model.model_fields.get(name)
    annotation = info.annotation if info is not None else None
    inner = [annotation, *getattr(annotation, "__args__", ())]
    return next((each for each in inner if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _sentence(detail: ErrorDetails, model: type[BaseModel], sources: Sources) -> WorkerError:
    names = [str(part) for part in detail["loc"]]
    name, place = ".".join(names), sources.place(names)
    match detail["type"]:
        case "missing" if names[0].upper() == "SUPABASE_URL":
            return ConfigError(
                "SUPABASE_URL is not set: export the project's URL, such as https://<ref>.supabase.co."
            )
        case "missing" if names[0].upper().startswith("SUPABASE_"):
            return CredentialError(
                "SUPABASE_SERVICE_ROLE_KEY is not set: export the project's service_role key "
                "(or SUPABASE_SECRET_KEY)."
            )
        case "missing":
            return ConfigError(f"`{name}` is missing in {sources.place(names[:-1])}: add it.")
        case "extra_forbidden":
            return ConfigError(f"Unknown key `{name}` in {place}{_hint(names[-1], _siblings(names, model))}")
        case kind if kind in _NOT_JSON and isinstance(detail["input"], str):
            return ConfigError(
                f"`{name}` = {_shown(names, detail['input'])} in {place} is not valid JSON: a list or a table is "
                f"written as JSON there, such as {sources.prefix}WALLETS='[]'."
            )
    problem = detail["msg"].removeprefix("Value error, ")
    return ConfigError(f"`{name}` = {_shown(names, detail['input'])} in {place} is refused: {problem}.")


def _shown(names: Sequence[str], value: object) -> str:
    text = repr(value)
    private = names[0] in {"wallets", "web_token"} or names[0].lower().startswith("supabase")
    if len(text) > 60 or (private and len(text) > 12):
        return f"a value of {len(str(value))} characters"
    return text


def _siblings(names: Sequence[str], model: type[BaseModel]) -> Iterable[str]:
    if len(names) == 1:
        return [name for name, info in model.model_fields.items() if info.validation_alias is None]
    group = group_of(model, names[0])
    return group.model_fields if group is not None else ()


def _hint(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean `{near[0]}`?" if near else f": known are {', '.join(sorted(known))}."
