#!/usr/bin/env python3
"""Holds deploy/kubernetes against the schemas of Kubernetes, and against itself: what one file names is in another one."""

import sys
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).parent.parent / "deploy" / "kubernetes"
# What Kubernetes itself does not know, and no schema of it says.
ELSEWHERE = ("keda.sh/", "kustomize.config.k8s.io/")
VERSION = kubernetes_validate.latest_version()


def main() -> None:
    wrong = []
    resources = {}
    for file in sorted(ROOT.rglob("*.yaml")):
        for resource in yaml.safe_load_all(file.read_text()):
            resources[file.name, resource["kind"]] = resource
            if resource["apiVersion"].startswith(ELSEWHERE):
                continue
            try:
                kubernetes_validate.validate(resource, VERSION, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = ".".join(str(one) for one in error.path)
                wrong.append(f"{file}: {resource['kind']}: {where}: {error.message}")

    worker = resources["worker.yaml", "Deployment"]
    for (file, kind), resource in resources.items():
        target = resource.get("spec", {}).get("scaleTargetRef")
        if target and target["name"] != worker["metadata"]["name"]:
            wrong.append(f"{file}: {kind} scales {target['name']}, which is not there")
    for file in ("worker.yaml", "server.yaml"):
        deployment = resources[file, "Deployment"]["spec"]
        labels = deployment["template"]["metadata"]["labels"]
        budget = resources[file, "PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
        for selector in (deployment["selector"]["matchLabels"], budget):
            if not selector.items() <= labels.items():
                wrong.append(f"{file}: {selector} does not find the pods")
    service = resources["server.yaml", "Service"]["spec"]
    server = resources["server.yaml", "Deployment"]["spec"]["template"]
    if not service["selector"].items() <= server["metadata"]["labels"].items():
        wrong.append(f"server.yaml: {service['selector']} does not find the servers")
    ports = {port["name"] for container in server["spec"]["containers"] for port in container["ports"]}
    for port in service["ports"]:
        if port["targetPort"] not in ports:
            wrong.append(f"server.yaml: there is no port {port['targetPort']}")
    for file, kind in (("worker.yaml", "Deployment"), ("server.yaml", "Deployment"), ("migrate.yaml", "Job")):
        pod = resources[file, kind]["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            for mount in container["volumeMounts"]:
                if mount["name"] not in volumes:
                    wrong.append(f"{file}: there is no volume {mount['name']}")
    for named in resources["kustomization.yaml", "Kustomization"]["resources"]:
        if not (ROOT / named).exists():
            wrong.append(f"kustomization.yaml: there is no {named}")

    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(resources)} resources are as Kubernetes {VERSION} wants them")


main()
