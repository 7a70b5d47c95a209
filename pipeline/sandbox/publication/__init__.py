"""When the archives of a world publish what: the clock of the sandbox, and the timetable of a world."""
