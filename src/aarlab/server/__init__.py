"""The lab as a service: HTTP in front of the store, the vault and the method runs."""
