#!/usr/bin/env python3
"""The manifests: every name leads somewhere, the pods are locked down, the embedded configuration
is one that the program takes. No cluster is asked."""
import copy
import tempfile
import unittest
from pathlib import Path

import yaml

import kubernetes_rules as rules
from common import CERTS, ESCLUSA, ROOT, run, said, version

FOLDER = ROOT / "dist/kubernetes"
GATEWAY, SIDECAR = FOLDER / "gateway", FOLDER / "sidecar"


class NoDuplicates(yaml.SafeLoader):
    """YAML forbids a key twice; the loader takes the last."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key twice: {node.start_mark}"
        return super().construct_mapping(node, deep=deep)


def load(folder):
    """Every object of a kustomization, itself the first."""
    files = [folder / "kustomization.yaml"]
    listed = yaml.load(files[0].read_text(encoding="utf-8"), NoDuplicates)["resources"]
    files += [folder / name for name in listed]
    objects = []
    for file in files:
        text = file.read_text(encoding="utf-8")
        objects += list(yaml.load_all(text, NoDuplicates))
    return objects


def one(objects, kind):
    return rules.of_kind(objects, kind)[0]


def pod(objects):
    return one(objects, "Deployment")["spec"]["template"]["spec"]


def config(before, after):
    """A fault in the embedded file."""
    def spoil(objects):
        data = one(objects, "ConfigMap")["data"]
        assert before in data["esclusa.cfg"]
        data["esclusa.cfg"] = data["esclusa.cfg"].replace(before, after)
    return spoil


# What is wrong, and words of the complaint.
FAULTS = [
    (lambda o: pod(o).update(terminationGracePeriodSeconds=60), "cuts a drain of 70 s"),
    (config('drain_timeout = "60s"', 'drain_timeout = "2m"'), "cuts a drain of 130 s"),
    (config("0.0.0.0:9901", "0.0.0.0:9902"), "admin is not the pod's port"),
    (config("admin_allow_remote = true", "admin_allow_remote = false"), "cannot ask admin"),
    (config("tls://0.0.0.0:8443", "tls://0.0.0.0:8444"), "listens at ['8444']"),
    (config("tls://0.0.0.0:8443", "0.0.0.0:8443"), "takes plain text"),
    (config("/etc/esclusa/tls/ca.crt", "/etc/esclusa/ca.crt"), "is in no mounted Secret"),
    (lambda o: rules.gateway(pod(o)).update(args=["--config", "/x"]), "args do not name"),
    (lambda o: rules.gateway(pod(o)).update(image="x/esclusa:latest"), "is not of version"),
    (lambda o: rules.gateway(pod(o)).pop("resources"), "no resources"),
    (lambda o: rules.gateway(pod(o))["securityContext"].pop("capabilities"), "capabilities"),
    (lambda o: rules.gateway(pod(o))["volumeMounts"][0].update(subPath="x"), "by subPath"),
    (lambda o: rules.gateway(pod(o))["volumeMounts"][0].update(name="gone"), "is no volume"),
    (lambda o: rules.gateway(pod(o))["livenessProbe"]["httpGet"].update(port="gone"),
     "livenessProbe"),
    (lambda o: rules.gateway(pod(o))["readinessProbe"]["httpGet"].update(path="/healthz"),
     "readinessProbe"),
    (lambda o: pod(o)["securityContext"].pop("seccompProfile"), "seccompProfile"),
    (lambda o: pod(o)["securityContext"].update(runAsUser=0), "runAsUser is root"),
    (lambda o: pod(o)["volumes"].append({"name": "more", "emptyDir": {}}), "nobody mounts"),
    (lambda o: pod(o)["volumes"][0]["configMap"].update(name="gone"), "no ConfigMap gone"),
    (lambda o: pod(o)["volumes"][1]["secret"].update(secretName="gone"), "no Certificate makes"),
    (lambda o: pod(o)["volumes"][1]["secret"].pop("defaultMode"), "its mode"),
    (lambda o: pod(o).pop("automountServiceAccountToken"), "token is mounted"),
    (lambda o: one(o, "Deployment")["spec"]["selector"]["matchLabels"].update(x="y"),
     "does not select its pods"),
    (lambda o: one(o, "Deployment")["spec"].update(replicas=2), "says replicas too"),
    (lambda o: one(o, "Service")["spec"]["selector"].update(x="y"), "Service: selects no pod"),
    (lambda o: one(o, "Service")["spec"]["ports"][0].update(targetPort="gone"), "no port gone"),
    (lambda o: one(o, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].clear(),
     "PodDisruptionBudget: selects"),
    (lambda o: one(o, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].update(x="y"),
     "NetworkPolicy: selects"),
    (lambda o: one(o, "NetworkPolicy")["spec"]["ingress"][0]["ports"][0].update(port="gone"),
     "NetworkPolicy: no port"),
    (lambda o: one(o, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="gone"),
     "scales nothing"),
    (lambda o: one(o, "HorizontalPodAutoscaler")["spec"].update(minReplicas=1), "no redundancy"),
    (lambda o: one(o, "Certificate")["spec"].update(dnsNames=["x"]), "name of the Service"),
]


class Manifests(unittest.TestCase):

    def test_every_file_is_listed_and_an_object(self):
        for folder in (GATEWAY, SIDECAR):
            objects = load(folder)
            listed = {"kustomization.yaml", *objects[0]["resources"]}
            self.assertEqual(listed, {file.name for file in folder.iterdir()})
            for item in objects[1:]:
                self.assertTrue(item["apiVersion"] and item["metadata"]["name"], item)
                self.assertNotIn("namespace", item["metadata"], "the kustomization says it")

    def test_kinds(self):
        self.assertEqual({item["kind"] for item in load(GATEWAY)},
                         {"Kustomization", "Namespace", "Certificate", "ConfigMap", "Deployment",
                          "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler",
                          "NetworkPolicy"})

    def test_names_lead_somewhere(self):
        for folder in (GATEWAY, SIDECAR):
            with self.subTest(folder=folder.name):
                self.assertEqual(rules.complaints(load(folder), version()), [])

    def test_faults_are_found(self):
        clean = load(GATEWAY)
        for spoil, words in FAULTS:
            with self.subTest(words=words):
                objects = copy.deepcopy(clean)
                spoil(objects)
                found = rules.complaints(objects, version())
                self.assertTrue(any(words in text for text in found), f"{words}: {found}")

    def test_program_takes_the_configuration(self):
        """With throw-away certificates where the Secret would be."""
        for folder, name in ((GATEWAY, "server"), (SIDECAR, "client")):
            with self.subTest(folder=folder.name), tempfile.TemporaryDirectory() as scratch:
                (_, text) = rules.config_of(load(folder))
                for path, file in (("tls.crt", name + ".pem"), ("tls.key", name + ".key"),
                                   ("ca.crt", "ca.pem")):
                    text = text.replace(f"/etc/esclusa/tls/{path}", str(CERTS / file))
                file = Path(scratch) / "esclusa.cfg"
                file.write_text(text, encoding="utf-8")
                done = run(ESCLUSA, "check", "--config", file)
                self.assertEqual(done.returncode, 0, said(done))
                self.assertIn("verified as", done.stdout)
                file.write_text(text.replace("connect =", "conect ="), encoding="utf-8")
                self.assertEqual(run(ESCLUSA, "check", "--config", file).returncode, 2)


if __name__ == "__main__":
    unittest.main()
