"""Bodies that nobody honest would send, and a runtime that is watched while it reads them.

``specimens`` (what was recorded, taken apart), ``pickled`` (pickles bent opcode by opcode), ``structure`` (JSON bent value by
value), ``bombs`` (little that asks for much), ``names`` (task names of every kind), ``bodies`` (number -> body), ``watch`` (the
audit hook), ``fuzz`` (the program that reads them, run as ``python -m hostile.fuzz``).
"""
