"""What the helps of all commands have in common."""


def examples(*commands: str) -> str:
    """Returns the examples that end a command's help."""
    return "**Examples:**\n\n" + "\n\n".join(f"`{command}`" for command in commands)
