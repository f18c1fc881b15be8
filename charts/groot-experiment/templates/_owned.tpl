{{/*
Objects whose names change with a revision, as JSON. The Jobs set their owner (groot_ray.cluster.ownership), so that Kubernetes removes
them with the release, also after a failed upgrade; the Role names the same objects. Not with cluster.jobs.keep: Argo CD does not prune
objects that have an owner, and would leave the Jobs of earlier revisions.
*/}}
{{- define "groot.owned" -}}
{{- $jobs := list -}}
{{- $sets := list -}}
{{- $services := list -}}
{{- range $name, $stage := .Values.cluster.stages -}}
{{- if ne (toString $stage.enabled) "false" -}}
{{- $what := dict "root" $ "name" $name "stage" $stage -}}
{{- $jobs = append $jobs (include "groot.jobName" $what) -}}
{{- if eq $.Values.cluster.ray.mode "static" -}}
{{- $sets = concat $sets (include "groot.staticSets" $what | fromJsonArray) -}}
{{- $services = append $services (printf "%s-head" (include "groot.cluster" $what)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "namespace" .Release.Namespace "owner" (include "groot.full" .) "jobs" $jobs "statefulsets" $sets "services" $services | toJson -}}
{{- end -}}
