{{/*
Names of what Helm makes and a later revision calls otherwise, as JSON. The Jobs give it an owner (groot_ray.cluster.ownership), so that it
goes with the release also after a failed upgrade; the Role names the same. Not with cluster.jobs.keep: Argo CD prunes no object that has an
owner, and would let the Jobs of earlier revisions stay.
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
