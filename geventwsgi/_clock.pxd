cpdef double monotonic() noexcept
cpdef long second() noexcept
