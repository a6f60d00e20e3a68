"""docs/deploy works with this version: what its files name exists here, and what they say of each other is true."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps.configfile import ConfigFile
from heartbeat.apps.options import gather
from tests.packaging.deployed import (
    DEPLOY,
    METRIC,
    containers,
    documents,
    expressions,
    known_metrics,
    options_in,
    options_of,
)

HAVE_YAML = find_spec("yaml") is not None
NO_YAML = "PyYAML is not installed: pip install 'txheartbeat[test]'"
PROMTOOL = shutil.which("promtool")
NO_PROMTOOL = "promtool is not installed: apt install prometheus"
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def promtool(*arguments: str) -> str:
    """What promtool complains of; nothing, if all is well."""
    assert PROMTOOL is not None
    run = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False, timeout=60)
    return run.stdout + run.stderr if run.returncode else ""


def rules() -> dict[str, Any]:
    """The rules file."""
    ((_, found),) = [one for one in documents("prometheus") if one[0].endswith("/rules.yml")]
    return found


def board() -> dict[str, Any]:
    """The Grafana board."""
    found: dict[str, Any] = json.loads((DEPLOY / "grafana/heartbeat.json").read_text())
    return found


def dashed(text: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-")


@skipUnless(HAVE_YAML, NO_YAML)
class PrometheusTests(SynchronousTestCase):
    """Rules and alerts."""

    @skipUnless(PROMTOOL, NO_PROMTOOL)
    def test_promtool(self) -> None:
        """The rules are well formed, their unit tests pass, and so does the configuration."""
        folder = DEPLOY / "prometheus"
        self.assertEqual(promtool("check", "rules", str(folder / "rules.yml")), "")
        self.assertEqual(promtool("test", "rules", str(folder / "rules_test.yml")), "")
        self.assertEqual(promtool("check", "config", str(folder / "prometheus.yml")), "")

    def test_every_metric_exists(self) -> None:
        """What the rules read is in our registry, or is recorded by them."""
        known = known_metrics()
        for name, text in expressions(rules()):
            self.assertEqual(set(METRIC.findall(text)) - known, set(), name)

    def test_every_alert_is_complete(self) -> None:
        """It says how bad it is, what is the matter, and where to read on; and it has a unit test."""
        page = {dashed(one) for one in HEADING.findall((DEPLOY / "index.md").read_text())}
        tested = (DEPLOY / "prometheus/rules_test.yml").read_text()
        alerts = [one for group in rules()["groups"] for one in group["rules"] if "alert" in one]
        self.assertGreaterEqual(len(alerts), 8)
        for alert in alerts:
            name = alert["alert"]
            self.assertIn(alert["labels"]["severity"], ("warning", "critical"), name)
            self.assertIn("for", alert, name)
            self.assertTrue(alert["annotations"]["summary"] and alert["annotations"]["description"], name)
            self.assertEqual(alert["annotations"]["runbook"], f"docs/deploy/index.md#{name.lower()}")
            self.assertIn(name.lower(), page, "its section")
            self.assertIn(f"alertname: {name}", tested)
            self.assertRegex(tested, rf"runbook: \S+#{name.lower()}", "one test in which it fires")


class GrafanaTests(SynchronousTestCase):
    """The board."""

    def test_it_is_one(self) -> None:
        """It has an id, a choice of the data source that all panels use, and no panel over another."""
        found = board()
        self.assertTrue(found["uid"])
        self.assertGreaterEqual(found["schemaVersion"], 36)
        variables = {one["name"]: one for one in found["templating"]["list"]}
        self.assertEqual(variables["datasource"]["type"], "datasource")
        ids = [panel["id"] for panel in found["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        taken: set[tuple[int, int]] = set()
        for panel in found["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken or at["x"] + at["w"] > 24, panel["title"])
            taken |= cells
            self.assertTrue(panel["targets"], panel["title"])
            for target in (panel, *panel["targets"]):
                self.assertEqual(target["datasource"]["uid"], "${datasource}", panel["title"])

    def test_every_metric_exists(self) -> None:
        """What it shows is in our registry, and so is what its variables choose from."""
        found = board()
        used = set(METRIC.findall(json.dumps([found["panels"], found["templating"]])))
        self.assertEqual(used - known_metrics(), set())
        self.assertGreater(len(used), 8)

    @skipUnless(PROMTOOL, NO_PROMTOOL)
    def test_every_query_parses(self) -> None:
        """As Prometheus itself reads it: in a rules file that is made of all of them."""
        made = []
        for panel in board()["panels"]:
            for target in panel["targets"]:
                text = target["expr"].replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")
                self.assertNotIn("$", text, panel["title"])
                made.append({"record": f"panel:{panel['id']}:{target['refId']}", "expr": text})
        path = Path(self.mktemp())
        path.write_text(json.dumps({"groups": [{"name": "board", "rules": made}]}))
        self.assertEqual(promtool("check", "rules", str(path)), "")
        self.assertGreater(len(made), 15)

    @skipUnless(PROMTOOL, NO_PROMTOOL)
    def test_a_query_that_does_not_parse_is_seen(self) -> None:
        """The check can fail."""
        path = Path(self.mktemp())
        path.write_text(json.dumps({"groups": [{"name": "x", "rules": [{"record": "a:b", "expr": "sum("}]}]}))
        self.assertNotEqual(promtool("check", "rules", str(path)), "")


@skipUnless(HAVE_YAML, NO_YAML)
class CollectorTests(SynchronousTestCase):
    """The configuration of an OpenTelemetry collector."""

    def test_complete(self) -> None:
        """Each pipeline is made of what is configured, and nothing is configured that no pipeline uses."""
        ((_, found),) = list(documents("otel"))
        pipelines = found["service"]["pipelines"]
        self.assertEqual(set(pipelines), {"traces", "metrics"})
        for kind in ("receivers", "processors", "exporters"):
            used = {one for pipeline in pipelines.values() for one in pipeline[kind]}
            self.assertEqual(used, set(found[kind]), kind)
        self.assertEqual(set(found["service"]["extensions"]), set(found["extensions"]))
        for pipeline in pipelines.values():
            self.assertEqual((pipeline["processors"][0], pipeline["processors"][-1]), ("memory_limiter", "batch"))

    def test_it_takes_what_we_send(self) -> None:
        """OTLP over HTTP at the port that everybody expects, and the scrape of the server's default port."""
        ((_, found),) = list(documents("otel"))
        self.assertTrue(found["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(":4318"))
        (scrape,) = found["receivers"]["prometheus"]["config"]["scrape_configs"]
        default = next(one.default for one in options_of("heartbeat-server").table if one.name == "web")
        self.assertIn(scrape["static_configs"][0]["targets"][0].rpartition(":")[2], default.split(":"))
        policies = {one["type"] for one in found["processors"]["tail_sampling"]["policies"]}
        self.assertIn("status_code", policies, "failures are kept")


@skipUnless(HAVE_YAML, NO_YAML)
class KubernetesTests(SynchronousTestCase):
    """The Kubernetes set."""

    def setUp(self) -> None:
        self.documents = [one for name, one in documents("kubernetes") if not name.endswith("kustomization.yaml")]

    def kind(self, *kinds: str) -> list[dict[str, Any]]:
        """The documents of these kinds."""
        return [one for one in self.documents if one["kind"] in kinds]

    def pods(self, wanted: dict[str, str]) -> list[dict[str, Any]]:
        """The pod templates that a selector selects."""
        templates = [one["spec"]["template"] for one in self.kind("Deployment", "StatefulSet")]
        return [one for one in templates if wanted.items() <= one["metadata"]["labels"].items()]

    def ports(self, pod: dict[str, Any]) -> dict[str, int]:
        """The named ports of a pod."""
        return {p["name"]: p["containerPort"] for one in pod["spec"]["containers"] for p in one["ports"]}

    def test_all_files_are_applied(self) -> None:
        """The kustomization names every file, and all are in one namespace."""
        ((_, kustomization),) = [one for one in documents("kubernetes") if one[0].endswith("kustomization.yaml")]
        files = {path.name for path in (DEPLOY / "kubernetes").iterdir()} - {"kustomization.yaml"}
        self.assertEqual(set(kustomization["resources"]), files)
        spaces = {one["metadata"].get("namespace", one["metadata"]["name"]) for one in self.documents}
        self.assertEqual(spaces, {kustomization["namespace"]})
        images = {image["name"] for image in kustomization["images"]}
        ours = {container["image"] for _, container in containers() if "redis" not in container["image"]}
        self.assertEqual(ours, images)

    @skipUnless(find_spec("kubernetes_validate"), "kubernetes-validate is missing: pip install 'txheartbeat[test]'")
    def test_schema(self) -> None:
        """Each object of Kubernetes itself is what its newest schema wants, and has no field that it does not know."""
        from kubernetes_validate import ValidationError, latest_version, validate

        theirs = [one for one in self.documents if one["kind"] != "ServiceMonitor"]  # of an operator: no schema here
        self.assertEqual(len(self.documents) - len(theirs), 1)
        for one in theirs:
            validate(one, latest_version(), strict=True)
        theirs[0]["metadata"]["colour"] = "blue"
        self.assertRaises(ValidationError, validate, theirs[0], latest_version(), strict=True)

    def test_commands(self) -> None:
        """Every option exists, its configuration file is in order, and its ports are those of the container."""
        (config,) = [one for one in self.kind("ConfigMap") if one["metadata"]["name"] == "heartbeat-config"]
        seen = []
        for _, container in containers():
            if container["image"] != "txheartbeat":
                continue
            program, given = options_in(container["args"])
            seen.append(program)
            (mount,) = [one for one in container["volumeMounts"] if one["name"] == "config"]
            folder, name = given["config"].rsplit("/", 1)
            self.assertEqual(mount["mountPath"], folder)
            gather(options_of(program).table, {}, ConfigFile(name, config["data"][name]))
            ports = {one["name"]: one["containerPort"] for one in container["ports"]}
            for option, port in (("listen", "heartbeat"), ("web", "web")):
                if option in given:
                    self.assertEqual(given[option], f"tcp6:{ports[port]}", program)
        self.assertEqual(seen, ["heartbeat-probe", "heartbeat-server"])

    def test_probes_and_services(self) -> None:
        """Probes ask paths that exist, at ports that exist; services lead to ports that exist."""
        for _, container in containers():
            names = {one["name"] for one in container["ports"]}
            for kind, paths in (
                ("livenessProbe", {"/livez"}),
                ("readinessProbe", {"/readyz"}),
                ("startupProbe", {"/livez"}),
            ):
                asked = container.get(kind, {}).get("httpGet")
                if asked is not None:
                    self.assertIn(asked["path"], paths)
                    self.assertIn(asked["port"], names)
            self.assertIn("readinessProbe", container)
            self.assertIn("livenessProbe", container)
        for service in self.kind("Service"):
            (pod,) = self.pods(service["spec"]["selector"])
            ports = self.ports(pod)
            for port in service["spec"]["ports"]:
                self.assertEqual(ports[port["targetPort"]], port["port"], service["metadata"]["name"])

    def test_selectors(self) -> None:
        """The budget, the policies and the monitor select what there is, by ports that it has."""
        for one in self.kind("PodDisruptionBudget", "Deployment", "StatefulSet"):
            self.assertEqual(len(self.pods(one["spec"]["selector"]["matchLabels"])), 1, one["metadata"]["name"])
        names = set()
        for policy in self.kind("NetworkPolicy"):
            (pod,) = self.pods(policy["spec"]["podSelector"]["matchLabels"])
            names.add(pod["metadata"]["labels"]["app.kubernetes.io/name"])
            for rule in policy["spec"]["ingress"]:
                self.assertLessEqual({port["port"] for port in rule["ports"]}, set(self.ports(pod)))
                for source in rule.get("from", ()):
                    if "podSelector" in source:
                        self.assertEqual(len(self.pods(source["podSelector"]["matchLabels"])), 1)
        self.assertEqual(len(names), len(self.kind("Deployment", "StatefulSet")), "each has a policy")
        (monitor,) = self.kind("ServiceMonitor")
        (wanted,) = monitor["spec"]["selector"]["matchExpressions"]
        services = {one["metadata"]["labels"]["app.kubernetes.io/name"]: one for one in self.kind("Service")}
        for name in wanted["values"]:
            self.assertIn(monitor["spec"]["endpoints"][0]["port"], {p["name"] for p in services[name]["spec"]["ports"]})
        self.assertEqual(monitor["spec"]["endpoints"][0]["path"], "/metrics")

    def test_order(self) -> None:
        """The register comes back before the servers, and they before the probes."""

        def wave(name: str, kind: str) -> int:
            (one,) = [one for one in self.kind(kind) if one["metadata"]["name"] == name]
            return int(one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])

        order = [
            wave("heartbeat", "Namespace"),
            wave("heartbeat-config", "ConfigMap"),
            wave("heartbeat-register", "StatefulSet"),
            wave("heartbeat-server", "Deployment"),
            wave("heartbeat-probe", "Deployment"),
        ]
        self.assertEqual(order, sorted(set(order)))
        for one in self.documents:
            self.assertIn("argocd.argoproj.io/sync-wave", one["metadata"]["annotations"], one["metadata"]["name"])

    def test_the_drain_has_its_time(self) -> None:
        """A pod is killed only after its drain is over."""
        (server,) = [one for one in self.kind("Deployment") if one["metadata"]["name"] == "heartbeat-server"]
        (config,) = self.kind("ConfigMap")
        drain = tomllib.loads(config["data"]["server.toml"])["drain-timeout"]
        self.assertGreater(server["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], drain + 5)

    def test_no_privileges(self) -> None:
        """Nobody is root, writes to the image, or may become more than it is."""
        for workload, container in containers():
            pod = workload["spec"]["template"]["spec"]
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertFalse(pod["automountServiceAccountToken"])
            context = container["securityContext"]
            self.assertEqual(
                (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"], context["capabilities"]),
                (False, True, {"drop": ["ALL"]}),
            )
            self.assertIn("memory", container["resources"]["limits"])
