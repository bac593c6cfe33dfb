"""The Linux side: desired kernel state, read, diff, apply. Never imports ryu or eventlet."""
