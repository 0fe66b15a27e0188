"""How a process lives. Would be the same in a project about ships."""
