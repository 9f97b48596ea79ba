"""The workflows for CI: sound YAML, sound shell, and options that there are."""

import argparse
import re
import shutil
import subprocess
from importlib import import_module

import pytest
import yaml

from reconeval import cli
from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "ci"
GITHUB, GITLAB = (yaml.safe_load((FOLDER / f"{n}.yml").read_text()) for n in ("github", "gitlab"))


def github_scripts():
    return [
        step["run"] for job in GITHUB["jobs"].values() for step in job["steps"] if "run" in step
    ]


def gitlab_scripts():
    parts = ("before_script", "script", "after_script")
    return [line for part in parts for line in GITLAB["benchmark"][part]]


SCRIPTS = {"github": "\n".join(github_scripts()), "gitlab": "\n".join(gitlab_scripts())}


def test_the_workflow_of_github_has_what_actions_ask_for():
    assert set(GITHUB) == {"name", True, "permissions", "concurrency", "env", "jobs"}
    assert GITHUB[True] == "pull_request"  # YAML reads `on` as true, and Actions knows it
    assert GITHUB["permissions"] == {"contents": "read", "pull-requests": "write"}
    for job in GITHUB["jobs"].values():
        assert {"runs-on", "timeout-minutes", "steps"} <= set(job)
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert set(step) <= {"name", "uses", "run", "with", "env", "if", "continue-on-error"}
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))
            # What an outsider can write, such as a branch's name, must not become shell.
            assert "${{" not in step.get("run", "")


def test_the_job_of_gitlab_has_what_runners_ask_for():
    assert set(GITLAB) == {"benchmark"}
    job = GITLAB["benchmark"]
    known = {"image", "timeout", "rules", "variables", "cache", "artifacts", "before_script"}
    assert set(job) == known | {"script", "after_script"}
    assert all(isinstance(line, str) for line in gitlab_scripts())
    assert all(isinstance(value, str) for value in job["variables"].values())
    assert job["artifacts"]["when"] == "always"


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_shell_is_sound(name):
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    script = SCRIPTS[name]
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_base_and_head_are_benchmarked_in_one_job_and_compared(name):
    commands = commands_of(SCRIPTS[name])
    base, head = (one for one in commands if one.startswith("pytest"))
    assert "--fail-on-regression" not in base
    assert "--baseline base.json --fail-on-regression" in head
    for one in (base, head):
        assert "--no-cache" in one  # seconds of now
        assert '--seeds "$SEEDS"' in one
    assert any(one.startswith("reconeval compare base.json head.json") for one in commands)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_option_is_there(name, pytestconfig):
    known = {"reconeval": set(reconeval_options()), "pytest": {"--pyargs", "--junitxml"}}
    group = pytestconfig._parser.getgroup("reconeval")
    known["pytest"] |= {flag for option in group.options for flag in option.names()}
    seen = set()
    for command in commands_of(SCRIPTS[name]):
        program = command.split()[0]
        if program in known:
            flags = set(re.findall(r"(?<=\s)--[\w-]+", command))
            assert flags <= known[program], command
            seen.add(program)
    assert seen == {"pytest", "reconeval"}


def commands_of(script):
    """Return the commands of reconeval and pytest with their arguments, each in one line."""
    joined = script.replace("\\\n", " ")
    found = re.findall(r"(?:^|&& |\()\s*((?:pytest|reconeval) [^|)\n]*)", joined, re.MULTILINE)
    return [" ".join(one.split()) for one in found]


def reconeval_options():
    parser = argparse.ArgumentParser()
    import_module(cli._COMMANDS["compare"][0]).add_arguments(parser)
    for action in parser._actions:
        yield from action.option_strings


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_the_page_shows_the_files_as_they_are(name):
    page = (ROOT / "docs" / "gate.md").read_text()
    assert f"```yaml\n{(FOLDER / f'{name}.yml').read_text()}```" in page
