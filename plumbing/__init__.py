"""How a process lives: nothing in here would change in a project about ships."""
