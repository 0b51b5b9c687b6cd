"""The Dockerfile, the build of zips, and the manifest for Kubernetes."""

import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import unittest
import zipfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
TOOLS = pathlib.Path(sys.executable).parent
# README: the longest wait of a call.
LONGEST_WAIT = 300


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


class Images(unittest.TestCase):
    dockerfile = (INFRA / "Dockerfile").read_text()

    def test_the_linter_finds_nothing(self):
        run = [TOOLS / "hadolint", "--failure-threshold", "info", INFRA / "Dockerfile"]
        done = subprocess.run(run, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)

    def test_the_toolchain_is_that_of_the_workspace(self):
        toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]
        self.assertIn(f"rust:{toolchain['channel']}-", self.dockerfile)

    def test_programs_run_without_rights_and_no_key_is_an_argument(self):
        final = self.dockerfile.split("AS base", 1)[1]
        self.assertIn("USER 65532:65532", final)
        self.assertNotIn("USER root", final)
        arguments = set(re.findall(r"^ARG (\w+)", self.dockerfile, re.M))
        self.assertEqual(arguments, {"TARGETARCH", "SOURCE_DATE_EPOCH", "REVISION"})


class Zips(unittest.TestCase):
    def test_the_same_contents_are_the_same_bytes(self):
        script = (INFRA / "build.sh").read_text()
        archive = script.split("<<'PYTHON'\n", 1)[1].split("\nPYTHON\n", 1)[0]
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            zips = []
            for number in range(2):
                program, config = folder / f"program{number}", folder / f"config{number}"
                program.write_bytes(bytes(100_000))
                config.write_text("tenant = 'x'\n")
                target = folder / f"{number}.zip"
                entries = [f"bootstrap={program}", f"gateway.toml={config}"]
                subprocess.run(
                    [sys.executable, "-c", archive, target, *entries],
                    env={"SOURCE_DATE_EPOCH": "1764000000", "TZ": f"Etc/GMT-{number}"},
                    check=True,
                )
                zips.append(target.read_bytes())
            self.assertEqual(zips[0], zips[1])
            with zipfile.ZipFile(folder / "0.zip") as content:
                modes = {i.filename: oct(i.external_attr >> 16) for i in content.infolist()}
        self.assertEqual(modes, {"bootstrap": "0o100755", "gateway.toml": "0o100644"})

    def test_the_script_says_what_it_takes(self):
        for wrong in ["mips", "--help"]:
            run = subprocess.run([INFRA / "build.sh", wrong], capture_output=True, text=True)
            self.assertEqual(run.returncode, 2)
            self.assertIn("usage:", run.stderr)


class Kubernetes(unittest.TestCase):
    objects = list(yaml.safe_load_all((INFRA / "kubernetes.yaml").read_text()))

    def of(self, kind):
        (found,) = [it for it in self.objects if it["kind"] == kind]
        return found["spec"] if "spec" in found else found

    def test_the_schemas_of_kubernetes_find_nothing(self):
        run = [TOOLS / "kubernetes-validate", "--strict", INFRA / "kubernetes.yaml"]
        done = subprocess.run(run, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_pod_has_the_time_to_drain(self):
        pod = self.of("Deployment")["template"]["spec"]
        (container,) = pod["containers"]
        before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        text = (INFRA / "kubernetes.yaml").read_text()
        drain = seconds(re.search(r'drain_timeout = "(\w+)"', text)[1])
        self.assertGreater(drain, LONGEST_WAIT)
        self.assertGreater(pod["terminationGracePeriodSeconds"], before + drain)

    def test_a_pod_has_no_rights(self):
        pod = self.of("Deployment")["template"]["spec"]
        (container,) = pod["containers"]
        self.assertTrue(pod["securityContext"]["runAsNonRoot"])
        rights = container["securityContext"]
        self.assertTrue(rights["readOnlyRootFilesystem"])
        self.assertFalse(rights["allowPrivilegeEscalation"])
        self.assertEqual(rights["capabilities"], {"drop": ["ALL"]})
        self.assertFalse(pod["automountServiceAccountToken"])

    def test_keys_are_named_and_not_there(self):
        self.assertNotIn("Secret", [it["kind"] for it in self.objects])
        (container,) = self.of("Deployment")["template"]["spec"]["containers"]
        keys = [variable for variable in container["env"] if "KEYS" in variable["name"]]
        self.assertEqual(len(keys), 2)
        for variable in keys:
            self.assertEqual(set(variable["valueFrom"]), {"secretKeyRef"})

    def test_every_selector_finds_the_pods(self):
        labels = self.of("Deployment")["template"]["metadata"]["labels"]
        self.assertEqual(self.of("Deployment")["selector"]["matchLabels"], labels)
        self.assertEqual(self.of("Service")["selector"], labels)
        self.assertEqual(self.of("PodDisruptionBudget")["selector"]["matchLabels"], labels)
        self.assertEqual(self.of("NetworkPolicy")["podSelector"]["matchLabels"], labels)


if __name__ == "__main__":
    unittest.main()
