{{/* Names and labels: pure functions of the release's name and values, nothing random and no lookup. */}}

{{/*
The prefix of all names: the release's name, if it is a DNS-1035 label (a letter first, no dots), as Services and RayClusters need it, and
short enough for the limits of Kubernetes (63 characters) and KubeRay (47). Helm allows other names; they are shortened and get a hash.
groot_ray.cluster.kube.release.short_name does the same.
*/}}
{{- define "groot.full" -}}
{{- $name := include "groot.given" . -}}
{{- if regexMatch "^[a-z]([-a-z0-9]{0,23}[a-z0-9])?$" $name -}}
{{- $name -}}
{{- else -}}
{{- $letters := $name | replace "." "-" | replace "_" "-" | lower -}}
{{- if not (regexMatch "^[a-z]" $letters) }}{{ $letters = printf "r%s" $letters }}{{ end -}}
{{- printf "%s-%s" (regexReplaceAll "-+$" ($letters | trunc 18) "") (sha256sum $name | trunc 6) -}}
{{- end -}}
{{- end -}}

{{/* The release's name, with the alias where this is a subchart under one: a release may have several. */}}
{{- define "groot.given" -}}
{{- if eq .Chart.Name "groot-experiment" }}{{ .Release.Name }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name }}{{ end -}}
{{- end -}}

{{/* The service account of the Jobs. */}}
{{- define "groot.account" -}}
{{- .Values.cluster.security.service_account | default (printf "%s-job" (include "groot.full" .)) -}}
{{- end -}}

{{/*
Name of a stage's Ray cluster; takes (dict "root" $ "name" STAGE). Static ones get a new name in each revision, because Helm resets their
replicas.
*/}}
{{- define "groot.cluster" -}}
{{- if eq .root.Values.cluster.ray.mode "static" -}}
{{- printf "%s-r%d" (include "groot.rayclusterName" .) (int .root.Release.Revision) -}}
{{- else -}}
{{- include "groot.rayclusterName" . -}}
{{- end -}}
{{- end -}}

{{/* Name of a stage's RayCluster, if there is one. */}}
{{- define "groot.rayclusterName" -}}
{{- printf "%s-%s" (include "groot.full" .root) .name -}}
{{- end -}}

{{- define "groot.labels" -}}
app.kubernetes.io/name: groot-experiment
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | quote }}
groot-ray/release: {{ include "groot.full" . | quote }}
{{- end -}}

{{/* Labels of pods, few and stable, so that selectors match; takes (dict "root" $ "component" COMPONENT). */}}
{{- define "groot.podLabels" -}}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
groot-ray/release: {{ include "groot.full" .root | quote }}
groot-ray/component: {{ .component | quote }}
{{- end -}}

{{/* The experiment document, as groot-ray reads it. */}}
{{- define "groot.document" -}}
{{- dict "experiment" .Values.experiment "cluster" .Values.cluster | toJson -}}
{{- end -}}

{{/* A digest of everything that the Jobs read. */}}
{{- define "groot.digest" -}}
{{- $revision := ternary (toString .Release.Revision) "" (eq .Values.cluster.ray.mode "static") -}}
{{- printf "%s %s %s" (include "groot.document" .) .Chart.Version $revision | sha256sum | trunc 12 -}}
{{- end -}}
