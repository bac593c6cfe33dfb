"""Each switch kept equal to the policy: read, plan, one bundle, read back."""
