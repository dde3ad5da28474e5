"""What must hold between the objects of one kustomization. complaints(objects) -> list of texts.
What a cluster would find is not looked for here, but what it would not: names that lead nowhere."""
import re

RESTRICTED = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
             "capabilities": {"drop": ["ALL"]}}
MARGIN = 5  # seconds between the end of the drain and the kill


def of_kind(objects, kind):
    return [one for one in objects if one["kind"] == kind]


def names(objects, kind):
    return {one["metadata"]["name"] for one in of_kind(objects, kind)}


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def gateway(pod):
    return next(one for one in containers(pod) if one["name"] == "esclusa")


def selects(selector, labels):
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def port_names(pod):
    return {port["name"]: port["containerPort"] for one in containers(pod)
            for port in one.get("ports", [])}


def pod_complaints(objects, pod):
    secrets = {one["spec"]["secretName"] for one in of_kind(objects, "Certificate")}
    found = []
    security = pod.get("securityContext", {})
    for key, value in RESTRICTED.items():
        if security.get(key) != value:
            found.append(f"pod: securityContext.{key} is not {value}")
    if not security.get("runAsUser"):
        found.append("pod: runAsUser is root or not said")
    if pod.get("automountServiceAccountToken") is not False:
        found.append("pod: a service account's token is mounted")
    volumes = {one["name"]: one for one in pod.get("volumes", [])}
    for name, volume in volumes.items():
        if "configMap" in volume and volume["configMap"]["name"] not in names(objects, "ConfigMap"):
            found.append(f"volume {name}: no ConfigMap {volume['configMap']['name']}")
        if "secret" in volume and volume["secret"]["secretName"] not in secrets:
            found.append(f"volume {name}: no Certificate makes {volume['secret']['secretName']}")
        if "secret" in volume and volume["secret"].get("defaultMode") != 0o440:
            found.append(f"volume {name}: its mode is not 0440")
    mounted = set()
    for container in containers(pod):
        found += container_complaints(container, volumes, port_names(pod))
        mounted |= {one["name"] for one in container.get("volumeMounts", [])}
    found += [f"volume {name}: nobody mounts it" for name in sorted(set(volumes) - mounted)]
    return found


def container_complaints(container, volumes, ports):
    found = []
    name = container["name"]
    for key, value in CONTAINER.items():
        if container.get("securityContext", {}).get(key) != value:
            found.append(f"container {name}: securityContext.{key} is not {value}")
    resources = container.get("resources", {})
    if not resources.get("requests") or "memory" not in resources.get("limits", {}):
        found.append(f"container {name}: no resources")
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            found.append(f"container {name}: mounts {mount['name']}, which is no volume")
        if "subPath" in mount or not mount.get("readOnly"):
            found.append(f"container {name}: {mount['name']} is mounted by subPath or writable")
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"),
                        ("readinessProbe", "/readyz")):
        get = container.get(probe, {}).get("httpGet", {})
        if name == "esclusa" and (get.get("path") != path or get.get("port") not in ports):
            found.append(f"container {name}: {probe} does not ask {path} at a port of the pod")
    return found


def around_complaints(objects, deployment, pod, labels):
    """Who refers to the pods."""
    ports, found = port_names(pod), []
    for one in of_kind(objects, "Service"):
        if not selects(one["spec"]["selector"], labels):
            found.append("Service: selects no pod")
        for port in one["spec"]["ports"]:
            if port["targetPort"] not in ports:
                found.append(f"Service: no port {port['targetPort']} in the pod")
    for one in of_kind(objects, "PodDisruptionBudget"):
        if not selects(one["spec"]["selector"]["matchLabels"], labels):
            found.append("PodDisruptionBudget: selects no pod")
    for one in of_kind(objects, "NetworkPolicy"):
        if not selects(one["spec"]["podSelector"].get("matchLabels"), labels):
            found.append("NetworkPolicy: selects no pod")
        for rule in one["spec"]["ingress"]:
            for port in rule["ports"]:
                if port["port"] not in ports:
                    found.append(f"NetworkPolicy: no port {port['port']} in the pod")
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) != ("Deployment", deployment["metadata"]["name"]):
            found.append("HorizontalPodAutoscaler: scales nothing of these")
        if "replicas" in deployment["spec"]:
            found.append("HorizontalPodAutoscaler: the Deployment says replicas too")
        if one["spec"]["minReplicas"] < 2:
            found.append("HorizontalPodAutoscaler: one replica is no redundancy")
    return found


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h|)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "": 1}[unit]


def setting(config, name, default):
    match = re.search(rf'^\s*{name}\s*=\s*"?([^";]+)"?;', config, re.MULTILINE)
    return match.group(1) if match else default


def config_of(objects):
    """The text, and where the program is to find it."""
    (config_map,) = of_kind(objects, "ConfigMap")
    ((name, text),) = config_map["data"].items()
    return name, text


def config_complaints(objects, pod):
    """What the file says and what its pod says."""
    found = []
    name, text = config_of(objects)
    container = gateway(pod)
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    if container["args"] != ["--config", f"{mounts.get('config')}/{name}"]:
        found.append("config: args do not name the file that is mounted")
    for path in re.findall(r'"(/[^"]*)"', text):
        if path.rpartition("/")[0] != mounts.get("tls") or not re.search(
                r"/(tls\.crt|tls\.key|ca\.crt)$", path):
            found.append(f"config: {path} is in no mounted Secret")
    drain = seconds(setting(text, "drain_delay", "0")) + seconds(setting(text, "drain_timeout",
                                                                         "5s"))
    if pod["terminationGracePeriodSeconds"] < drain + MARGIN:
        found.append(f"pod: terminationGracePeriodSeconds cuts a drain of {drain:g} s")
    ports = port_names(pod)
    admin = setting(text, "admin", "").rpartition(":")[2]
    if str(ports.get("admin")) != admin:
        found.append("config: admin is not the pod's port admin")
    if setting(text, "admin_allow_remote", "false") != "true":
        found.append("config: the kubelet cannot ask admin")
    listens = set(re.findall(r'listen = "tls://0\.0\.0\.0:(\d+)"', text))
    declared = {str(port) for port_name, port in ports.items() if port_name != "admin"}
    if listens != declared:
        found.append(f"config: listens at {sorted(listens)}, the pod says {sorted(declared)}")
    for address in re.findall(r'listen = "([^"]*)"', text):
        if not address.startswith(("tls://", "127.0.0.1:")):
            found.append(f"config: {address} takes plain text from other pods")
    return found


def complaints(objects, version):
    (deployment,) = of_kind(objects, "Deployment")
    template = deployment["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]
    found = []
    if not selects(deployment["spec"]["selector"]["matchLabels"], labels):
        found.append("Deployment: its selector does not select its pods")
    if gateway(pod)["image"].rpartition(":")[2] != version:
        found.append(f"container esclusa: its image is not of version {version}")
    found += pod_complaints(objects, pod)
    found += around_complaints(objects, deployment, pod, labels)
    found += config_complaints(objects, pod)
    namespace = of_kind(objects, "Kustomization")[0]["namespace"]
    for service in names(objects, "Service"):
        for certificate in of_kind(objects, "Certificate"):
            if f"{service}.{namespace}.svc" not in certificate["spec"]["dnsNames"]:
                found.append("Certificate: does not bear the name of the Service")
    return found
