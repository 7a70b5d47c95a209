"""Object stores of the clouds: objects, conditional writes, and a lock by lease."""
