"""The ground floor: errors, log, tasks, joins, undo, files, ids. It imports nothing of Podwright's."""
