"""A group of commands that offers the nearest one for a name that it does not know."""

from __future__ import annotations

import click


class SuggestingGroup(click.Group):
    """A group of commands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the words name; an unknown one suggests the nearest."""
        name = args[0] if args else ""
        known = self.list_commands(ctx)
        if name and not name.startswith("-") and name not in known:
            from pipeline.places import did_you_mean

            raise click.UsageError(f"No such command {name!r:.100}.{did_you_mean(name, known)}", ctx)
        return super().resolve_command(ctx, args)
