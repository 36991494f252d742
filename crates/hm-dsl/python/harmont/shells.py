"""Which shell runs a command, so that its first failing line ends it."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

DEFAULT = "sh -e"
# Those in which a pipeline fails with any of its commands when asked to.
_WITH_PIPEFAIL = ("bash", "zsh")


def check_shell(shell: Optional[str], what: str = "shell") -> Optional[str]:
    """Return the shell with its options: a bare name gets those that end a command at its first failing line."""
    if shell is None:
        return None
    if not isinstance(shell, str):
        raise TypeError(f"hm: {what} must be text, not {type(shell).__name__}")
    words = shell.split()
    if not words or any(char in "'\"\\$`" or not char.isprintable() for char in shell):
        raise ValueError(
            f"hm: {what} must be a program and its options, without quotes, got {shell!r}\n"
            '  → shell="bash", or shell="bash -eux -o pipefail"'
        )
    if len(words) == 1:
        name = words[0].rsplit("/", 1)[-1]
        words += ["-eo", "pipefail"] if name in _WITH_PIPEFAIL else ["-e"]
    return " ".join(words)


def in_directory(quoted: str, cmd: str) -> str:
    """Return ``cmd`` in a directory. Where ``cmd`` is more than one list of ``&&``, a failing ``cd`` has to end it by itself:
    ``set -e`` heeds the last command of such a list alone."""
    rest = cmd.replace("&&", "")
    if any(char in rest for char in "\n;&") or "||" in rest:
        return f"cd {quoted} || exit; {cmd}"
    return f"cd {quoted} && {cmd}"
