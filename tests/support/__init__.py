"""What tests share: small real parts, and nothing that replaces one."""
