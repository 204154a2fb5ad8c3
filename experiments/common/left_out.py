"""What of a user's own data is left out: counted by reason, and told in one line."""

import dataclasses


@dataclasses.dataclass
class LeftOut:
    """Names of what is left out, by reason, in the order in which the reasons came up.

    Its length is how many there are, and as text it is what tells the user:

        2 with an empty transcript (a.wav, for one); 1 longer than 60 s (b.wav)
    """

    names: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Count one more."""
        self.names.setdefault(reason, []).append(name)

    def __len__(self) -> int:
        return sum(map(len, self.names.values()))

    def __str__(self) -> str:
        return "; ".join(
            f"{len(names):,} {reason} ({names[0]}{', for one' if len(names) > 1 else ''})"
            for reason, names in self.names.items()
        )
