"""Which fields of the API play knows, which it leaves alone with a warning, and which it refuses, each with the reason.

A field in none of these is a typo. Kubernetes API reference, Pod v1.
"""

from __future__ import annotations

_SCHEDULER = "placing pods on nodes is the scheduler's work; ignored"
_PROBES = "probes are the kubelet's work; ignored"
_API = "the API server's own; ignored"
_SERVICES = "service accounts and services need a cluster; ignored"

METADATA = {"name", "namespace", "uid", "labels", "annotations"}
METADATA_IGNORED = dict.fromkeys(
    (
        "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "finalizers", "generateName",
        "generation", "managedFields", "ownerReferences", "resourceVersion", "selfLink",
    ),
    _API,
)  # fmt: skip

POD = {
    "containers", "initContainers", "volumes", "hostname", "subdomain", "hostNetwork", "hostPID", "hostIPC",
    "shareProcessNamespace", "dnsPolicy", "dnsConfig", "hostAliases", "restartPolicy",
    "terminationGracePeriodSeconds", "runtimeClassName", "securityContext", "enableServiceLinks",
    "automountServiceAccountToken", "hostUsers",
}  # fmt: skip
POD_IGNORED = {
    "affinity": _SCHEDULER,
    "nodeName": _SCHEDULER,
    "nodeSelector": _SCHEDULER,
    "preemptionPolicy": _SCHEDULER,
    "priority": _SCHEDULER,
    "priorityClassName": _SCHEDULER,
    "schedulerName": _SCHEDULER,
    "schedulingGates": _SCHEDULER,
    "tolerations": _SCHEDULER,
    "topologySpreadConstraints": _SCHEDULER,
    "serviceAccount": _SERVICES,
    "serviceAccountName": _SERVICES,
    "readinessGates": "conditions are the kubelet's work; ignored",
    "activeDeadlineSeconds": "nothing supervises a played pod; ignored",
    "imagePullSecrets": "secrets need a cluster: put credentials into the daemon's auth.json; ignored",
    "os": "a pod is played on this machine whatever it says; ignored",
    "overhead": "the scheduler's account of a RuntimeClass; ignored",
    "resources": "limits of whole pods are the kubelet's work; ignored",
    "setHostnameAsFQDN": "the host name stays the short one; ignored",
}
POD_REFUSED = {
    "ephemeralContainers": "these are added to running pods only; use `podwright exec`",
    "hostnameOverride": "not known to play; use hostname",
    "resourceClaims": "resource claims need a cluster",
}

CONTAINER = {
    "name", "image", "imagePullPolicy", "command", "args", "workingDir", "env", "envFrom", "ports", "volumeMounts",
    "resources", "securityContext", "tty", "stdin", "stdinOnce", "terminationMessagePath",
    "terminationMessagePolicy", "restartPolicy",
}  # fmt: skip
CONTAINER_IGNORED = {
    "livenessProbe": _PROBES,
    "readinessProbe": _PROBES,
    "startupProbe": _PROBES,
    "lifecycle": "hooks are the kubelet's work; ignored",
    "resizePolicy": "resizing is the kubelet's work; ignored",
    "restartPolicyRules": "nothing supervises a played pod; ignored",
}
CONTAINER_REFUSED = {"volumeDevices": "block volumes need a cluster"}

VOLUME_REFUSED = {
    "persistentVolumeClaim": "claims need a cluster; use hostPath",
    "secret": "secrets need a cluster; put the values into a ConfigMap in the same file",
    "projected": "projected volumes can't be played; use configMap volumes",
    "downwardAPI": "downward API volumes can't be played; use env with fieldRef",
    "ephemeral": "claims need a cluster; use emptyDir",
    "image": "image volumes can't be played yet",
    **dict.fromkeys(
        (
            "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume",
            "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "iscsi", "nfs", "photonPersistentDisk",
            "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
        ),
        "volume drivers are the kubelet's work; mount it on the host and use hostPath",
    ),
}  # fmt: skip

POD_SECURITY = {
    "runAsUser", "runAsGroup", "runAsNonRoot", "seLinuxOptions", "seccompProfile", "appArmorProfile", "fsGroup",
    "supplementalGroups", "supplementalGroupsPolicy", "sysctls", "fsGroupChangePolicy",
}  # fmt: skip
CONTAINER_SECURITY = {
    "runAsUser", "runAsGroup", "runAsNonRoot", "seLinuxOptions", "seccompProfile", "appArmorProfile", "privileged",
    "readOnlyRootFilesystem", "allowPrivilegeEscalation", "procMount", "capabilities",
}  # fmt: skip
SECURITY_REFUSED = {"windowsOptions": "this is not Windows"}
SECURITY_IGNORED = {"seLinuxChangePolicy": "labelling volumes is the kubelet's work; ignored"}
