"""The Ansible inventory: its devices, settings and passwords."""
