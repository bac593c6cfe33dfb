"""What the operator wants: documents, their validation, and the frozen values they become. Pure."""
