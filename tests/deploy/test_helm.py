# SPDX-License-Identifier: MIT
"""What the chart renders, from its values and those of the two environments."""
import base64
import re
import shutil

import pytest
import yaml

from chart import CHART, NAME, NAMESPACE, Manifests, as_args, helm, kubeconform, rendered, template

FILES = {"defaults": [], "production": ["values-production.yaml"], "qa": ["values-qa.yaml"]}
SECRETS = {"BOOTSTRAP_SIGNING_KEY": "a1" * 32, "SERVER_REGISTRATION_SECRET": "registration-s3cret",
           "ATTESTATION_SIGNING_KEY": "b2" * 32, "CI_UPLOAD_SECRET": "upload-s3cret", "WORKER_SHARED_KEY": "pool-s3cret",
           "TURN_SECRET": "turn-s3cret", "REDIS_SENTINEL_PASSWORD": "sentinel-s3cret"}
EXTERNAL = {"redis": {"enabled": False}, "externalRedis": {"url": "redis://u:redis-s3cret@redis.example:6379/0"}}
PEER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}
EVERYTHING = {
    "image": {"pullSecrets": ["registry"], "tag": "1.2.3"}, "secrets": SECRETS, "redis": {"storage": {"className": "fast"}},
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    "ingress": {"enabled": True, "className": "nginx", "annotations": {"a": "b"}, "tls": {"enabled": True}},
    "autoscaling": {"enabled": True, "connectionsPerPod": 5000},
    "podDisruptionBudget": {"maxUnavailable": "25%"},
    "networkPolicy": {"ingressFrom": [PEER]}, "serviceAccount": {"annotations": {"a": "b"}},
    "nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "k", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]}}},
    "podAnnotations": {"a": "b"}, "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}}, "dashboard": {"enabled": True}}
TLS = {"caSecret": "redis-ca", "certSecret": "redis-client", "serverName": "redis.internal"}
OVER_TLS = {"redis": {"enabled": False}, "externalRedis": {"url": "rediss://redis.example:6379/0", "tls": TLS}}
SENTINEL = {"redis": {"sentinel": {"enabled": True}, "password": "abc123"}}
CASES = {**{name: (None, files) for name, files in FILES.items()}, "everything": (EVERYTHING, []),
         "an external Redis": ({**EXTERNAL, "networkPolicy": {"redisTo": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}}, []),
         "a Redis over TLS": (OVER_TLS, []), "a Redis that fails over": (SENTINEL, [])}


@pytest.fixture(scope="module")
def defaults():
    return Manifests()


@pytest.fixture(scope="module")
def production():
    return Manifests(files=FILES["production"])


@pytest.fixture(scope="module")
def everything():
    return Manifests(EVERYTHING)


# --- whole ---


@pytest.mark.parametrize("case", CASES)
def test_helm_has_nothing_against_the_chart(case):
    args, text = as_args(*CASES[case])
    done = helm("lint", "--strict", CHART, *args, text=text)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES)
def test_kubernetes_takes_what_is_rendered(case):
    status, said = kubeconform(rendered(*CASES[case]))
    assert status == 0 and "Invalid: 0, Errors: 0, Skipped: 0" in said, said


@pytest.mark.parametrize("right, wrong", [("maxUnavailable: 0", "maxUnavailabel: 0"), ("  replicas: 2", "  replicas: two"),
                                          ("containerPort: 8080", "containerPort:"), ("interval: 15s", "intervall: 15s"),
                                          ("averageUtilization: 70", "averageUtilisation: 70")])
def test_a_wrong_field_would_be_noticed(right, wrong):
    text = rendered({**EVERYTHING, "autoscaling": {"enabled": right.startswith("average")}})
    assert right in text
    status, said = kubeconform(text.replace(right, wrong))
    assert status == 1 and "Invalid: 1, Errors: 0" in said, said


@pytest.mark.parametrize("case", CASES)
def test_all_objects_are_labelled_and_of_this_release(case):
    for (kind, name), manifest in Manifests(*CASES[case]).items():
        assert manifest["metadata"]["name"].startswith(NAME), (kind, name)
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == NAME, (kind, name)


def test_selectors_tell_workers_redis_and_the_test_apart(defaults):
    labels = {name: pod["metadata"]["labels"] for name, pod in
              {"worker": defaults.pod, "redis": defaults["StatefulSet", "redis"]["spec"]["template"],
               "test": defaults["Pod", "test"]}.items()}
    selectors = {"worker": defaults["Service", ""]["spec"]["selector"], "redis": defaults["Service", "redis"]["spec"]["selector"]}
    for name, selector in selectors.items():
        assert [other for other, of in labels.items() if selector.items() <= of.items()] == [name]
    assert defaults["Deployment", ""]["spec"]["selector"]["matchLabels"] == selectors["worker"]
    assert defaults["PodDisruptionBudget", ""]["spec"]["selector"]["matchLabels"] == selectors["worker"]


def test_a_name_that_holds_the_charts_is_not_doubled_and_another_is_put_before_it():
    def name_of(release):
        done = helm("template", release, CHART, "--kube-version", "1.30", "--show-only", "templates/service.yaml")
        return yaml.safe_load(done.stdout)["metadata"]["name"]

    assert [name_of("signalbox-qa"), name_of("qa")] == ["signalbox-qa", "qa-signalbox"]


@pytest.mark.parametrize("values", [EVERYTHING, SENTINEL], ids=["everything", "sentinel"])
def test_the_longest_name_of_a_release_leaves_room_for_what_kubernetes_adds(values):
    """The pods of a StatefulSet carry its name, a hyphen and ten characters as a label, of 63 at most."""
    done = helm("template", "r" * 53, CHART, "--kube-version", "1.30", "--values=-", text=yaml.safe_dump(values))
    names = {manifest["kind"]: manifest["metadata"]["name"] for manifest in yaml.safe_load_all(done.stdout) if manifest}
    assert len(names["StatefulSet"]) <= 63 - 11 and max(map(len, names.values())) <= 63


# --- pods ---


def test_replicas_are_those_asked_for():
    for count in (0, 1, 7):
        assert Manifests({"replicaCount": count})["Deployment", ""]["spec"]["replicas"] == count


def test_an_update_never_takes_a_worker_before_there_is_another(defaults):
    assert defaults["Deployment", ""]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_an_update_waits_until_the_worker_before_has_drained():
    spec = Manifests({"preStopSeconds": 7, "config": {"DRAIN_SECONDS": 900}})["Deployment", ""]["spec"]
    assert spec["minReadySeconds"] == 907 < spec["progressDeadlineSeconds"]


def test_probes_ask_health_whether_to_restart_and_ready_whether_to_route(defaults):
    paths = {name: defaults.container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": {"path": "/health", "port": "http"}, "livenessProbe": {"path": "/health", "port": "http"},
                     "readinessProbe": {"path": "/ready", "port": "http"}}
    assert defaults.container["ports"] == [{"name": "http", "containerPort": int(defaults.config["PORT"])}]
    assert defaults["Service", ""]["spec"]["ports"][0]["targetPort"] == "http"


@pytest.mark.parametrize("pre_stop, drain", [(5, 20), (0, 0), (30, 600), (5, 3600)])
def test_a_pod_is_given_the_time_to_leave_the_service_and_to_drain(pre_stop, drain):
    manifests = Manifests({"preStopSeconds": pre_stop, "config": {"DRAIN_SECONDS": drain}})
    assert manifests.config["DRAIN_SECONDS"] == str(drain)
    assert manifests.pod["spec"]["terminationGracePeriodSeconds"] == pre_stop + drain + 10
    if pre_stop:
        assert manifests.container["lifecycle"] == {"preStop": {"exec": {"command": ["sleep", str(pre_stop)]}}}
    else:
        assert "lifecycle" not in manifests.container


def test_no_container_has_rights(everything):
    pods = [everything.pod["spec"], everything["StatefulSet", "redis"]["spec"]["template"]["spec"],
            everything["Pod", "test"]["spec"]]
    assert [pod["securityContext"]["runAsUser"] for pod in pods] == [10001, 999, 10001]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        [container] = pod["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                                "capabilities": {"drop": ["ALL"]}}
        assert "memory" in container["resources"]["limits"]
    assert everything["ServiceAccount", ""]["automountServiceAccountToken"] is False
    assert everything.pod["spec"]["serviceAccountName"] == NAME


def test_workers_are_spread_over_zones_and_machines(defaults):
    spread = defaults.pod["spec"]["topologySpreadConstraints"]
    assert [rule["topologyKey"] for rule in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for rule in spread:
        assert rule["labelSelector"]["matchLabels"].items() <= defaults.pod["metadata"]["labels"].items()


def test_placement_and_pull_secrets_reach_the_pod(everything):
    spec = everything.pod["spec"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}] == everything["Pod", "test"]["spec"]["imagePullSecrets"]
    assert spec["nodeSelector"] == EVERYTHING["nodeSelector"] and spec["tolerations"] == EVERYTHING["tolerations"]
    assert spec["affinity"] == EVERYTHING["affinity"]
    assert everything.container["image"] == "signalbox:1.2.3" == everything["Pod", "test"]["spec"]["containers"][0]["image"]


@pytest.mark.parametrize("values, changed", [
    ({}, set()),
    ({"config": {"MESSAGE_RATE": 7}}, {"checksum/config"}),
    ({"secrets": {"TURN_SECRET": "another"}}, {"checksum/secret"}),
    ({"redis": {"password": "another"}}, {"checksum/redis"}),
    ({"externalRedis": {"url": "redis://other:6379"}, "redis": {"enabled": False}}, {"checksum/secret"}),
    ({"autoscaling": {"enabled": True}, "ingress": {"enabled": True}}, set())])
def test_pods_roll_when_what_they_are_told_changes(defaults, values, changed):
    before, after = (manifests.pod["metadata"]["annotations"] for manifests in (defaults, Manifests(values)))
    assert {name for name in before if before[name] != after[name]} == changed


# --- secrets ---


@pytest.mark.parametrize("values", [{"secrets": SECRETS, **EXTERNAL},
                                    {"secrets": SECRETS, "redis": {"password": "redisS3cret"}}], ids=["external", "bundled"])
def test_secrets_are_in_secrets_alone(values):
    texts = [*SECRETS.values(), "redis-s3cret", "redisS3cret"]
    manifests, seen = Manifests(values), set()
    for (kind, name), manifest in manifests.items():
        shown = yaml.safe_dump(manifest, width=10**6)
        for text in texts:
            there = text in shown or base64.b64encode(text.encode()).decode() in shown
            if kind != "Secret":
                assert not there, (kind, name, text)
    for (kind, name) in list(manifests):
        if kind == "Secret":
            seen |= {text for text in texts for value in manifests.secret(name).values() if text in value}
    assert len(seen) == len(SECRETS) + 1


def env_sources(manifests):
    return {env["name"]: env["valueFrom"]["secretKeyRef"] for env in manifests.container["env"] if "valueFrom" in env}


def test_every_secret_that_was_given_reaches_the_worker():
    manifests = Manifests({"secrets": SECRETS, **EXTERNAL})
    given = manifests.secret()
    assert given == {**SECRETS, "REDIS_URL": EXTERNAL["externalRedis"]["url"]}
    assert {name: (source["name"], source["key"]) for name, source in env_sources(manifests).items()} == \
        {name: (NAME, name) for name in given}


def test_secrets_that_were_not_given_are_not_there(defaults):
    assert ("Secret", "") not in defaults
    assert all(source.get("optional") for name, source in env_sources(defaults).items() if name != "REDIS_PASSWORD")


def test_an_existing_secret_is_used_for_all_keys_and_none_is_made():
    manifests = Manifests({"existingSecret": "ours", "redis": {"enabled": False}})
    assert "Secret" not in manifests.kinds()
    assert {(source["name"], source["key"]) for source in env_sources(manifests).values()} == \
        {("ours", name) for name in [*SECRETS, "REDIS_URL"]}
    assert not env_sources(manifests)["REDIS_URL"].get("optional")


# --- Redis ---


def test_the_bundled_redis_keeps_its_data_and_refuses_strangers(defaults):
    spec = defaults["StatefulSet", "redis"]["spec"]
    [claim], [container] = spec["volumeClaimTemplates"], spec["template"]["spec"]["containers"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi" and "storageClassName" not in claim["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"data": "/data", "config": "/etc/redis"}
    assert container["command"][-2:] == ["--requirepass", "$(REDISCLI_AUTH)"]
    [auth] = container["env"]
    assert (auth["name"], auth["valueFrom"]["secretKeyRef"]) == ("REDISCLI_AUTH", {"name": f"{NAME}-redis", "key": "password"})
    assert len(defaults.secret("redis")["password"]) == 32


def test_workers_reach_the_bundled_redis_with_its_password(defaults):
    names = [env["name"] for env in defaults.container["env"]]
    assert names.index("REDIS_PASSWORD") < names.index("REDIS_URL")  # or it would not be put into it
    assert defaults.container["env"][-1] == {"name": "REDIS_URL", "value": f"redis://:$(REDIS_PASSWORD)@{NAME}-redis:6379/0"}


def test_a_password_of_the_bundled_redis_may_be_given_or_be_there():
    assert Manifests({"redis": {"password": "abc123"}}).secret("redis") == {"password": "abc123"}
    manifests = Manifests({"redis": {"existingSecret": "ours"}})
    assert "Secret" not in manifests.kinds()
    [auth] = manifests["StatefulSet", "redis"]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert auth["valueFrom"]["secretKeyRef"]["name"] == "ours" == env_sources(manifests)["REDIS_PASSWORD"]["name"]


def test_an_external_redis_leaves_nothing_of_the_bundled_one():
    manifests = Manifests(EXTERNAL)
    assert not [key for key in manifests if key[1].startswith("redis")]
    assert env_sources(manifests)["REDIS_URL"] == {"name": NAME, "key": "REDIS_URL"}


def ha_pod(manifests):
    return manifests["StatefulSet", "redis-ha"]["spec"]["template"]["spec"]


def test_a_redis_that_fails_over_is_three_servers_and_three_sentinels_that_keep_what_they_learn():
    manifests = Manifests(SENTINEL)
    assert ("StatefulSet", "redis") not in manifests and ("Service", "redis") not in manifests
    spec = manifests["StatefulSet", "redis-ha"]["spec"]
    assert spec["replicas"] == 3 and spec["podManagementPolicy"] == "Parallel" and len(spec["volumeClaimTemplates"]) == 1
    assert spec["serviceName"] == f"{NAME}-redis-ha" == manifests["Service", "redis-ha"]["metadata"]["name"]
    service = manifests["Service", "redis-ha"]["spec"]
    assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"] is True
    assert service["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    containers = {container["name"]: container for container in ha_pod(manifests)["containers"]}
    for name, role, port in ("redis", "server", 6379), ("sentinel", "sentinel", 26379):
        container = containers[name]
        first = f"{NAME}-redis-ha-0.{NAME}-redis-ha"
        assert container["command"][:5] == ["sh", "/etc/redis/redis-ha.sh", role, f"$(POD).{NAME}-redis-ha", first]
        assert container["ports"] == [{"name": name, "containerPort": port}]
        assert container["workingDir"] == "/data" and {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
        assert [env["name"] for env in container["env"]] == ["POD", "REDISCLI_AUTH"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True and "memory" in container["resources"]["limits"]
    assert containers["redis"]["command"][5:] == ["--include", "/etc/redis/redis.conf"]
    files = manifests["ConfigMap", "redis"]["data"]
    assert files["redis-ha.sh"].strip() == (CHART / "files" / "redis-ha.sh").read_text().strip() and "redis.conf" in files


def test_workers_ask_the_three_sentinels_with_the_password_of_the_servers():
    manifests = Manifests(SENTINEL)
    env = manifests.container["env"]
    hosts = ",".join(f"{NAME}-redis-ha-{n}.{NAME}-redis-ha:26379" for n in range(3))
    assert env[-1] == {"name": "REDIS_URL", "value": f"redis+sentinel://:$(REDIS_PASSWORD)@{hosts}/signalbox/0"}
    of = env_sources(manifests)
    assert of["REDIS_PASSWORD"] == of["REDIS_SENTINEL_PASSWORD"] == {"name": f"{NAME}-redis", "key": "password"}
    assert len({one["name"] for one in env}) == len(env)


def test_servers_and_sentinels_reach_each_other_and_workers_both():
    manifests, ports = Manifests(SENTINEL), [{"port": 6379}, {"port": 26379}]
    redis = {"podSelector": {"matchLabels": manifests["Service", "redis-ha"]["spec"]["selector"]}}
    workers = {"podSelector": {"matchLabels": manifests["Service", ""]["spec"]["selector"]}}
    assert manifests["NetworkPolicy", ""]["spec"]["egress"][1] == {"ports": ports, "to": [redis]}
    spec = manifests["NetworkPolicy", "redis"]["spec"]
    assert spec["ingress"] == [{"ports": ports, "from": [workers, redis]}]
    names, others = spec["egress"]
    assert [port["port"] for port in names["ports"]] == [53, 53] and others == {"ports": ports, "to": [redis]}


def test_one_server_of_three_is_evicted_at_a_time_and_they_are_spread():
    manifests = Manifests(SENTINEL)
    spec = manifests["PodDisruptionBudget", "redis-ha"]["spec"]
    assert spec["maxUnavailable"] == 1 and spec["selector"] == manifests["StatefulSet", "redis-ha"]["spec"]["selector"]
    assert [rule["topologyKey"] for rule in ha_pod(manifests)["topologySpreadConstraints"]] == \
        ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


def test_what_redis_needs_for_tls_is_mounted_and_named():
    manifests = Manifests(OVER_TLS)
    told = {env["name"]: env["value"] for env in manifests.container["env"] if "value" in env}
    assert told == {"REDIS_CA_FILE": "/etc/redis-ca/ca.crt", "REDIS_CERT_FILE": "/etc/redis-cert/tls.crt",
                    "REDIS_KEY_FILE": "/etc/redis-cert/tls.key", "REDIS_SERVER_NAME": "redis.internal"}
    mounts = {mount["name"]: mount["mountPath"] for mount in manifests.container["volumeMounts"]}
    files = {f"{mounts[volume['name']]}/{item['path']}": (volume["secret"]["secretName"], item["key"])
             for volume in manifests.pod["spec"]["volumes"] for item in volume["secret"]["items"]}
    assert files == {told["REDIS_CA_FILE"]: ("redis-ca", "ca.crt"), told["REDIS_CERT_FILE"]: ("redis-client", "tls.crt"),
                     told["REDIS_KEY_FILE"]: ("redis-client", "tls.key")}


@pytest.mark.parametrize("tls, names", [
    ({"caSecret": "ours"}, {"REDIS_CA_FILE"}), ({"certSecret": "ours"}, {"REDIS_CERT_FILE", "REDIS_KEY_FILE"}),
    ({"serverName": "r.example"}, {"REDIS_SERVER_NAME"}), ({}, set())])
def test_of_tls_only_what_was_given_is_set(tls, names):
    for values in ({"externalRedis": {"tls": tls}, "existingSecret": "ours", "redis": {"enabled": False}},
                   {**OVER_TLS, "externalRedis": {"url": "rediss+sentinel://s.example/main", "tls": tls},
                    "networkPolicy": {"sentinelPort": 26379}}):
        spec = Manifests(values).pod["spec"]
        [container] = spec["containers"]
        assert {env["name"] for env in container["env"] if "value" in env} == names
        assert len(spec.get("volumes", [])) == len(container.get("volumeMounts", [])) == len(names & {"REDIS_CA_FILE", "REDIS_KEY_FILE"})


def test_workers_reach_the_sentinels_of_an_external_redis_too():
    url = "redis+sentinel://u:p@a.example:26380,b.example:26380/main/0"
    manifests = Manifests({**EXTERNAL, "externalRedis": {"url": url}, "networkPolicy": {"redisPort": 6390, "sentinelPort": 26380}})
    assert manifests["NetworkPolicy", ""]["spec"]["egress"][1] == {"ports": [{"port": 6390}, {"port": 26380}]}


# --- scale, network ---


def test_with_autoscaling_nobody_else_says_how_many():
    manifests = Manifests({"autoscaling": {"enabled": True, "minReplicas": 4, "maxReplicas": 9, "cpuPercent": 55}})
    spec = manifests["HorizontalPodAutoscaler", ""]["spec"]
    assert "replicas" not in manifests["Deployment", ""]["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (4, 9)
    assert spec["metrics"] == [{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 55}}}]
    assert "cpu" in manifests.container["resources"]["requests"]  # of which that is the share


def test_autoscaling_looks_at_connections_where_it_is_told_to(everything):
    assert everything["HorizontalPodAutoscaler", ""]["spec"]["metrics"][1] == {"type": "Pods", "pods": {
        "metric": {"name": "signalbox_connections"}, "target": {"type": "AverageValue", "averageValue": "5000"}}}


def test_without_autoscaling_there_is_no_autoscaler(defaults):
    assert "HorizontalPodAutoscaler" not in defaults.kinds()


def test_at_most_one_worker_is_evicted_at_a_time(defaults):
    assert defaults["PodDisruptionBudget", ""]["spec"]["maxUnavailable"] == 1
    assert "PodDisruptionBudget" not in Manifests({"podDisruptionBudget": {"enabled": False}}).kinds()


def test_workers_may_reach_names_and_redis_only(defaults):
    spec = defaults["NetworkPolicy", ""]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"ports": [{"port": "http"}]}]
    names, redis = spec["egress"]
    assert [port["port"] for port in names["ports"]] == [53, 53]
    assert redis == {"ports": [{"port": 6379}], "to": [
        {"podSelector": {"matchLabels": defaults["Service", "redis"]["spec"]["selector"]}}]}


def test_nobody_but_workers_reaches_the_bundled_redis(defaults):
    [rule] = defaults["NetworkPolicy", "redis"]["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": defaults["Service", ""]["spec"]["selector"]}}]


def test_the_network_policy_lets_in_whom_it_is_told_to_and_the_test():
    manifests = Manifests({**EXTERNAL, "externalRedis": {"url": "redis://redis.example:6390"}, "networkPolicy": {
        "ingressFrom": [PEER], "redisTo": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "redisPort": 6390}})
    spec = manifests["NetworkPolicy", ""]["spec"]
    assert spec["ingress"][0]["from"] == [PEER, {"podSelector": {"matchLabels": manifests["Pod", "test"]["metadata"]["labels"]}}]
    assert spec["egress"][1] == {"ports": [{"port": 6390}], "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}
    assert ("NetworkPolicy", "redis") not in manifests
    assert "NetworkPolicy" not in Manifests({"networkPolicy": {"enabled": False}}).kinds()


def test_a_load_balancer_without_an_ingress_leaves_the_workers_the_addresses_of_clients():
    """Else all that come through one machine of the cluster share the limits of its address."""
    policies = {kind: Manifests({"service": {"type": kind}})["Service", ""]["spec"].get("externalTrafficPolicy")
                for kind in ("ClusterIP", "NodePort", "LoadBalancer")}
    assert policies == {"ClusterIP": None, "NodePort": None, "LoadBalancer": "Local"}


@pytest.mark.parametrize("file, host", [("production", "signal.zajel.hamzalabs.dev"), ("qa", "signal-qa.zajel.hamzalabs.dev")])
def test_each_environment_has_its_domain_with_tls(file, host):
    manifests = Manifests(files=FILES[file])
    spec = manifests["Ingress", ""]["spec"]
    assert spec["tls"] == [{"hosts": [host], "secretName": f"{NAME}-tls"}]
    [rule] = spec["rules"]
    assert rule["host"] == host and manifests.config["PUBLIC_URL"] == f"wss://{host}"
    for path in rule["http"]["paths"]:
        assert path["backend"] == {"service": {"name": NAME, "port": {"name": "http"}}}
    assert manifests.config["TRUSTED_PROXIES"]  # or all clients would share one address' limits


def test_an_ingress_may_do_without_tls_and_be_absent(defaults):
    assert "Ingress" not in defaults.kinds()
    spec = Manifests({"ingress": {"enabled": True, "className": "nginx"}})["Ingress", ""]["spec"]
    assert "tls" not in spec and spec["ingressClassName"] == "nginx"


def test_production_is_watched_scaled_and_on_a_redis_of_its_own(production):
    assert {"ServiceMonitor", "PrometheusRule", "HorizontalPodAutoscaler"} <= production.kinds()
    assert {"Secret", "StatefulSet"}.isdisjoint(production.kinds())
    assert production["HorizontalPodAutoscaler", ""]["spec"]["minReplicas"] >= 2
    assert production.config["ENVIRONMENT"] == "production"


def test_prometheus_scrapes_the_workers_service(everything):
    spec = everything["ServiceMonitor", ""]["spec"]
    assert spec["selector"]["matchLabels"].items() <= everything["Service", ""]["metadata"]["labels"].items()
    assert not spec["selector"]["matchLabels"].items() <= everything["Service", "redis"]["metadata"]["labels"].items()
    assert spec["endpoints"] == [{"port": "http", "path": "/metrics", "interval": "15s"}]
    assert everything["ServiceMonitor", ""]["metadata"]["labels"]["release"] == "prometheus"


def test_alerts_are_about_this_release_alone(everything):
    [group] = everything["PrometheusRule", ""]["spec"]["groups"]
    for rule in group["rules"]:
        metrics = len(re.findall(r"\b(?:signalbox_\w+|process_\w+|up){", rule["expr"]))
        assert rule["expr"].count(f'namespace="{NAMESPACE}",job="{NAME}"') == metrics >= 1, rule["expr"]


def test_what_an_alert_says_of_redis_has_the_prefix_of_this_release():
    for prefix in "sb:", "blue-1:":
        rule = Manifests({**EVERYTHING, "config": {"REDIS_PREFIX": prefix}})["PrometheusRule", ""]
        cures = {alert["alert"]: alert["annotations"]["cure"] for alert in rule["spec"]["groups"][0]["rules"]}
        assert cures["SignalboxNoLeader"].endswith(f" hgetall {prefix}leader tells who has it.")


# --- bad values ---


REFUSED = [{"replicaCount": -1}, {"replicaCount": "two"}, {"replicas": 3}, {"image": {"pullPolicy": "Sometimes"}},
           {"image": {"repository": ""}}, {"config": {"MESAGE_RATE": 1}}, {"config": {"DRAIN_SECONDS": 3601}},
           {"config": {"DRAIN_SECONDS": "20"}}, {"config": {"PORT": 80}}, {"config": {"ENVIRONMENT": "staging"}},
           {"config": {"LOG_LEVEL": "loud"}}, {"config": {"LEADER_ELECTION": True}}, {"config": {"TLS_CERT": "/tls.crt"}},
           {"config": {"TRUSTED_PROXIES": "the proxy"}}, {"config": {"STUN_SERVERS": "stun.example:3478"}},
           {"config": {"PROCESSES": "257"}}, {"config": {"TURN_SECRET": "x"}}, {"config": {"REDIS_URL": "redis://x"}},
           {"secrets": {"BOOTSTRAP_SIGNING_KEY": "abc"}}, {"secrets": {"REDIS_URL": "redis://x"}},
           {"externalRedis": {"url": "http://redis"}}, {"redis": {"password": "a:b"}}, {"redis": {"maxmemory": "384Mi"}},
           {"redis": {"storage": {"size": "big"}}}, {"service": {"type": "ExternalName"}}, {"service": {"port": 0}},
           {"ingress": {"host": "https://x.example"}}, {"ingress": {"paths": ["ws"]}}, {"ingress": {"tls": True}},
           {"autoscaling": {"cpuPercent": 0}}, {"autoscaling": {"minReplicas": 0}},
           {"podDisruptionBudget": {"maxUnavailable": 0}}, {"networkPolicy": {"ingressFrom": [{}]}},
           {"networkPolicy": {"ingressFrom": [{"pods": {}}]}}, {"existingSecret": "Our_Secret"}, {"preStopSeconds": -1},
           {"resources": {"limit": {}}}, {"resources": {"limits": {"memory": "lots"}}},
           {"redis": {"sentinel": True}}, {"redis": {"sentinel": {"replicas": 3}}}, {"networkPolicy": {"sentinelPort": -1}},
           {"externalRedis": {"tls": {"enabled": True}}}, {"externalRedis": {"tls": {"caSecret": "Our_CA"}}},
           *({"externalRedis": {"url": url}} for url in ("redis+sentinel://a.example", "redis+sentinel://a.example,/main",
                                                         "redis+sentinel://u@a.example/main", "redis+sentinel:///main",
                                                         "rediss+sentinel://a.example/main/zero", "rediss+http://a.example")),
           {"serviceMonitor": {"interval": "often"}}, {"dashboard": {"enabled": "yes"}}]


@pytest.mark.parametrize("values", REFUSED, ids=str)
def test_the_schema_refuses(values):
    done = template(values)
    assert done.returncode == 1 and "don't meet the specifications of the schema" in done.stderr, done.stderr


@pytest.mark.parametrize("values, sentence", [
    ({"redis": {"enabled": False}}, "there is no Redis"),
    ({"externalRedis": EXTERNAL["externalRedis"]}, "with externalRedis.url, set redis.enabled=false"),
    ({"existingSecret": "ours", "secrets": {"TURN_SECRET": "x"}}, "existingSecret holds all keys"),
    ({"existingSecret": "ours", **EXTERNAL}, "existingSecret holds all keys"),
    ({"redis": {"password": "a", "existingSecret": "ours"}}, "redis.password must be empty"),
    ({"config": {"SERVER_REGISTRATION": "unset"}}, "must be open, secret or signed"),
    ({"config": {"SERVER_REGISTRATION": "unset", "PROTOCOLS": "relay, registry"}}, "must be open, secret or signed"),
    ({"config": {"SERVER_REGISTRATION": "secret"}}, "needs secrets.SERVER_REGISTRATION_SECRET"),
    ({"config": {"REQUIRE_ATTESTATION": "all"}}, "needs secrets.ATTESTATION_SIGNING_KEY"),
    *(({**EXTERNAL, "externalRedis": {"url": url}, "networkPolicy": {"redisPort": port}}, f"networkPolicy.redisPort={port} keeps")
      for url, port in (("redis://redis.example:6390/0", 6379), ("redis://:6390@redis.example", 6390), ("redis://[fd00::1]", 1))),
    ({"externalRedis": {"tls": TLS}}, "the bundled one speaks no TLS"),
    ({**EXTERNAL, "externalRedis": {**EXTERNAL["externalRedis"], "tls": TLS}}, "must begin with rediss://"),
    ({**OVER_TLS, "config": {"REDIS_CA_FILE": "/ca.crt"}}, "externalRedis.tls sets config.REDIS_CA_FILE"),
    ({**OVER_TLS, "config": {"REDIS_SERVER_NAME": "x"}}, "externalRedis.tls sets config.REDIS_SERVER_NAME"),
    ({**EXTERNAL, "redis": {"enabled": False, "sentinel": {"enabled": True}}}, "redis.sentinel is about the bundled Redis"),
    ({**SENTINEL, "secrets": {"REDIS_SENTINEL_PASSWORD": "x"}}, "take the password of the bundled Redis"),
    ({**SENTINEL, "config": {"REDIS_SENTINEL_USER": "x"}}, "take the password of the bundled Redis"),
    *(({**EXTERNAL, "externalRedis": {"url": f"redis+sentinel://{hosts}/main/0"}, "networkPolicy": {"sentinelPort": port}},
       f"networkPolicy.sentinelPort={port} keeps workers from the Sentinels of externalRedis.url: set it to {right}")
      for hosts, port, right in (("a.example", 0, 26379), ("a.example:26379,b.example:26380", 26379, 26380),
                                 ("u:p@[fd00::1]", 1, 26379))),
    ({"autoscaling": {"minReplicas": 5, "maxReplicas": 4}}, "must not be above")])
def test_values_that_do_not_go_together_are_refused_with_a_sentence(values, sentence):
    done = template(values)
    assert done.returncode == 1 and sentence in done.stderr, done.stderr


def fields(schema, path=""):
    """The paths of all objects of a schema that have fields, with their schemas."""
    for name, part in schema.get("properties", {}).items():
        yield from fields(part, f"{path}.{name}")
    if "properties" in schema:
        yield path, schema


def test_the_schema_knows_every_value_and_no_other():
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path, part in fields(schema):
        assert part["additionalProperties"] is False, path
        value = values
        for name in path.split(".")[1:]:
            value = value.get(name, {})
        if "networkPolicy." not in path:
            assert set(part["properties"]) - {"global"} == set(value), path


# --- what people are told ---


@pytest.mark.parametrize("values, files, told, not_told", [
    (None, [], ["port-forward service/signalbox 8080:80", "for trying out", "helm -n apps test signalbox"],
     ["WARNING", "--check-redis"]),
    (SENTINEL, [], ["exec signalbox-redis-ha-0 -c sentinel"], ["for trying out"]),
    ({"replicaCount": 1}, [], ["WARNING: with one worker"], []),
    ({"ingress": {"enabled": True}}, [], ["WARNING: config.TRUSTED_PROXIES is empty", "ws://signalbox.local"], []),
    (None, FILES["production"], ["wss://signal.zajel.hamzalabs.dev", "--check-redis", "rollout restart deployment/signalbox",
                                 "the Secret signalbox-production"], ["WARNING", "for trying out"]),
    (None, FILES["qa"], ["wss://signal-qa.zajel.hamzalabs.dev"], ["WARNING"])])
def test_the_notes_fit_what_was_installed(tmp_path, values, files, told, not_told):
    """helm prints them only where there is a cluster: here they are a manifest of a copy of the chart."""
    copy_of = shutil.copytree(CHART, tmp_path / "signalbox")
    (copy_of / "templates" / "NOTES.txt").rename(copy_of / "NOTES.txt")
    (copy_of / "templates" / "notes.yaml").write_text('kind: Notes\ntext: |\n{{ tpl (.Files.Get "NOTES.txt") . | indent 2 }}')
    manifests = yaml.safe_load_all(rendered(values, files, copy_of))
    text = next(manifest["text"] for manifest in manifests if manifest["kind"] == "Notes")
    assert not [part for part in told if part not in text], text
    assert not [part for part in not_told if part in text], text
