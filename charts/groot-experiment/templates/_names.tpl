{{/* Names and labels. All names are pure functions of the release's name and values: nothing random, no lookup. */}}

{{/* The release's name, short enough that every name made from it fits Kubernetes' 63 letters and KubeRay's 47. */}}
{{- define "groot.full" -}}
{{- if gt (len .Release.Name) 25 -}}
{{- printf "%s-%s" (.Release.Name | trunc 18 | trimSuffix "-") (sha256sum .Release.Name | trunc 6) -}}
{{- else -}}
{{- .Release.Name -}}
{{- end -}}
{{- end -}}

{{/* What a stage's Ray cluster is called; takes (dict "root" $ "name" STAGE). Static ones are new in each revision, because Helm resets replicas. */}}
{{- define "groot.cluster" -}}
{{- if eq .root.Values.cluster.ray.mode "static" -}}
{{- printf "%s-%s-r%d" (include "groot.full" .root) .name (int .root.Release.Revision) -}}
{{- else -}}
{{- printf "%s-%s" (include "groot.full" .root) .name -}}
{{- end -}}
{{- end -}}

{{- define "groot.labels" -}}
app.kubernetes.io/name: groot-experiment
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | quote }}
groot-ray/release: {{ include "groot.full" . | quote }}
{{- end -}}

{{/* Labels of pods: short and stable, so that selectors match; takes (dict "root" $ "component" WHAT). */}}
{{- define "groot.podLabels" -}}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
groot-ray/release: {{ include "groot.full" .root | quote }}
groot-ray/component: {{ .component | quote }}
{{- end -}}

{{/* The experiment document, as groot-ray reads it. */}}
{{- define "groot.document" -}}
{{- dict "experiment" .Values.experiment "cluster" .Values.cluster | toJson -}}
{{- end -}}

{{/* What changes when anything that the Jobs read changes. */}}
{{- define "groot.digest" -}}
{{- $revision := ternary (toString .Release.Revision) "" (eq .Values.cluster.ray.mode "static") -}}
{{- printf "%s %s %s" (include "groot.document" .) .Chart.Version $revision | sha256sum | trunc 12 -}}
{{- end -}}
