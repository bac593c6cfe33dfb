"""The only code that touches the machine: one module per kernel interface or tool. Nothing here decides anything."""
