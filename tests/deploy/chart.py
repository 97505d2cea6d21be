# SPDX-License-Identifier: MIT
"""The chart, rendered by the real helm."""
import base64
import subprocess

import yaml

from gotools import ROOT, tool
from kubeschemas import KUBERNETES, schemas

CHART = ROOT / "helm" / "signalbox"
NAME, NAMESPACE = "signalbox", "apps"  # of a release that is called as the chart is, the objects have just that name


def helm(*args, text=None):
    return subprocess.run([tool("helm"), *map(str, args)], input=text, capture_output=True, text=True)


def as_args(values, files):
    """values: a dict, laid over those of the files."""
    return [f"--values={CHART / file}" for file in files] + ["--values=-"], yaml.safe_dump(values or {})


def template(values=None, files=(), chart=CHART):
    args, text = as_args(values, files)
    return helm("template", NAME, chart, "--namespace", NAMESPACE, "--kube-version", KUBERNETES, *args, text=text)


def rendered(values=None, files=(), chart=CHART):
    """The text of all manifests."""
    done = template(values, files, chart)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kubeconform(text):
    """(exit status, what it says): are these what Kubernetes takes?"""
    done = subprocess.run([tool("kubeconform"), "-strict", "-summary", "-schema-location",
                           f"{schemas()}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", "-"],
                          input=text, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


class Manifests(dict):
    """{(kind, name): manifest}. Names are given without that of the release."""

    def __init__(self, values=None, files=()):
        super().__init__()
        for manifest in yaml.safe_load_all(rendered(values, files)):
            if manifest:
                key = manifest["kind"], manifest["metadata"]["name"].removeprefix(NAME).lstrip("-")
                assert key not in self, f"{key} is there twice"
                self[key] = manifest

    @property
    def pod(self):
        return self["Deployment", ""]["spec"]["template"]

    @property
    def container(self):
        return self.pod["spec"]["containers"][0]

    @property
    def config(self):
        return self["ConfigMap", ""]["data"]

    def secret(self, name=""):
        """{key: text}"""
        return {key: base64.b64decode(value).decode() for key, value in self["Secret", name]["data"].items()}

    def kinds(self):
        return {kind for kind, _ in self}
