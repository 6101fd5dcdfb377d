#!/usr/bin/python
"""Write several files and folders of one role in a single round trip."""

DOCUMENTATION = r"""
module: managed_files
short_description: Write several files and folders in one task
description:
  - Compares content, owner, group and mode of each file with what the device has, and replaces a file atomically when any differs.
  - One task for all files of a role takes one round trip, where a copy or template task takes several for each file.
  - The result lists the paths that changed, so that each handler can test for the files that concern it.
options:
  files:
    description: Files and folders in the order in which they are written. Missing parents of a file are created.
    type: list
    elements: dict
    required: true
    suboptions:
      dest: {description: Absolute path on the device., type: path, required: true}
      state: {description: A file or a folder., type: str, choices: [file, directory], default: file}
      content: {description: Content of the file., type: str, default: ""}
      owner: {description: Name of the owner., type: str, default: root}
      group: {description: Name of the group., type: str, default: root}
      mode: {description: Octal mode., type: str, default: "0644 for files, 0755 for folders"}
      validate: {description: Command that must accept the new file; %s is its path., type: str}
author: [The Edge Vision Toolkit authors]
"""

EXAMPLES = r"""
- name: Write the configuration
  managed_files:
    files:
      - dest: /etc/systemd/journald.conf.d/50-toolkit.conf
        content: "{{ lookup('ansible.builtin.template', 'journald.conf.j2') }}"
  register: base_written
  notify: Restart the journal
"""

RETURN = r"""
changed_paths:
  description: Paths that were written, or that would be in check mode.
  type: list
  returned: always
"""

import grp
import os
import pwd
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule

OPTIONS = {
    "dest": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["file", "directory"], "default": "file"},
    "content": {"type": "str", "default": ""},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str"},
    "validate": {"type": "str"},
}


class QuietModule(AnsibleModule):
    """A module that does not log its arguments: each run would write every file to the device's journal."""

    def _log_invocation(self):
        pass


def name_of(lookup, number):
    """The name of a user or group id, or the number where it has none."""
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


def current_state(path):
    """Kind, content, owner, group and mode of what is at `path`; None if nothing is."""
    try:
        entry = os.lstat(path)
    except OSError:
        return None
    content = ""
    if stat.S_ISREG(entry.st_mode):
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            content = stream.read()
    kind = "directory" if stat.S_ISDIR(entry.st_mode) else "file" if stat.S_ISREG(entry.st_mode) else "other"
    owner, group = name_of(pwd.getpwuid, entry.st_uid), name_of(grp.getgrgid, entry.st_gid)
    return kind, content, owner, group, stat.S_IMODE(entry.st_mode)


def desired_state(file):
    """The same of what a file should be."""
    mode = int(file["mode"] or ("0755" if file["state"] == "directory" else "0644"), 8)
    content = file["content"] if file["state"] == "file" else ""
    return file["state"], content, file["owner"], file["group"], mode


def write(module, file, desired):
    """Put the file or folder in place."""
    _, content, owner, group, mode = desired
    path = file["dest"]
    if file["state"] == "directory":
        os.makedirs(path, exist_ok=True)
        finish(path, owner, group, mode)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=".ansible-", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if file["validate"]:
            code, output, errors = module.run_command(file["validate"].replace("%s", part))
            if code:
                module.fail_json(msg="%s was not written: %s" % (path, (output + errors).strip()))
        finish(part, owner, group, mode)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)


def finish(path, owner, group, mode):
    """Set owner, group and mode."""
    os.chown(path, pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid)
    os.chmod(path, mode)


def difference(path, before, after):
    """One entry of Ansible's --diff."""
    entry = {"before_header": path, "before": "", "after_header": header(path, after), "after": after[1]}
    if before:
        entry.update(before_header=header(path, before), before=before[1])
    return entry


def header(path, state):
    """Path, kind, owner and mode."""
    return "%s (%s %s:%s %04o)" % (path, state[0], state[2], state[3], state[4])


def main():
    """Compare each file, write those that differ."""
    module = QuietModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True, "options": OPTIONS}},
        supports_check_mode=True,
    )
    changed, diff = [], []
    for file in module.params["files"]:
        before, after = current_state(file["dest"]), desired_state(file)
        if before == after:
            continue
        changed.append(file["dest"])
        diff.append(difference(file["dest"], before, after))
        if not module.check_mode:
            write(module, file, after)
    module.exit_json(changed=bool(changed), changed_paths=changed, diff=diff)


if __name__ == "__main__":
    main()
