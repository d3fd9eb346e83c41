"""When, where, and with how much data signals tell what was seen: closed forms, fitted many times over."""
