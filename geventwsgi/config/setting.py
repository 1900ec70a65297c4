"""One setting, and one value that a source gives it."""

from typing import Any, NamedTuple

from geventwsgi.config import kinds as k


# Annotations are no text in this module: NamedTuple would compile each of them at every start.
class Setting(NamedTuple):
    """One setting.

    :param default: its value if no source sets it, as the parser of its kind returns it.
    :param flag: its flags, comma-separated; empty if only a file can set it.
    :param no_effect: empty for a setting that works; else the words after "has no effect" in the warning.
    :param variable: the environment variable that changes the default, put into `template`.
    :param shown: the default in the documentation, if it differs between machines.
    :param section: its heading, filled in from the table.
    """

    name: str
    default: Any
    kind: k.Kind
    flag: str
    help: str
    no_effect: str = ""
    variable: str = ""
    template: str = "{}"
    shown: str = ""
    section: str = ""

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags, short ones first."""
        return tuple(self.flag.split(", ")) if self.flag else ()

    @property
    def long_flag(self) -> str:
        """The flag that messages name."""
        return next(flag for flag in self.flags if flag.startswith("--"))

    @property
    def effective(self) -> bool:
        """Whether setting it changes anything."""
        return not self.no_effect

    @property
    def default_text(self) -> str:
        """The default for the documentation, the same on every machine."""
        if callable(self.default):
            return "none"
        return self.shown or repr(self.default)

    def parse(self, given: Any) -> Any:
        """Return the value for the text or object of a flag, a variable or a file.

        :raises ValueError: it is wrong; the message is a predicate for the setting's name.
        """
        return self.kind.parse(given)


class Given(NamedTuple):
    """A source's value of a setting, unparsed, and the source's name: ``flag --workers``, ``gwsgi.conf.py:12``."""

    value: Any
    source: str
