"""The switch side: Ryu applications and the pure code that decides what the switch shall hold."""
