{{/* Names of a stage's StatefulSets (static.yaml) as JSON; takes (dict "root" $ "name" STAGE "stage" OPTIONS). */}}
{{- define "groot.staticSets" -}}
{{- $pods := include "groot.pods" (dict "root" .root "stage" .stage) | fromJson -}}
{{- $cluster := include "groot.cluster" . -}}
{{- $sets := list (printf "%s-head" $cluster) -}}
{{- range $group := list "cpu" "gpu" }}{{ if gt (int (index $pods $group)) 0 }}{{ $sets = append $sets (printf "%s-%s" $cluster $group) }}{{ end }}{{ end -}}
{{- $sets | toJson -}}
{{- end -}}

{{/* Command and probes of Ray pods without an operator. */}}

{{- define "groot.staticCommand" -}}
{{- $words := list -}}
{{- range $key, $value := include "groot.rayStart" . | fromJson -}}
{{- $words = append $words (printf "--%s=%s" $key $value) -}}
{{- end -}}
{{- $head := printf "%s-head" (include "groot.cluster" .) -}}
{{- if eq .group "head" -}}
ulimit -n 65536; exec ray start --head --port=6379 --dashboard-port=8265 {{ join " " $words }} --disable-usage-stats --block
{{- else -}}
ulimit -n 65536; until (exec 3<>/dev/tcp/{{ $head }}/6379) 2>/dev/null; do sleep 1; done; exec ray start --address={{ $head }}:6379 {{ join " " $words }} --block
{{- end -}}
{{- end -}}

{{- define "groot.staticProbes" -}}
{{- $raylet := "wget --tries 1 -T 2 -q -O- http://127.0.0.1:52365/api/local_raylet_healthz | grep success" -}}
{{- $gcs := "wget --tries 1 -T 10 -q -O- http://127.0.0.1:8265/api/gcs_healthz | grep success" -}}
{{- $check := ternary (printf "%s && %s" $raylet $gcs) $raylet (eq .group "head") -}}
startupProbe:
  exec: {command: ["/bin/bash", "-c", {{ $check | quote }}]}
  periodSeconds: 5
  timeoutSeconds: 15
  failureThreshold: 360
readinessProbe:
  exec: {command: ["/bin/bash", "-c", {{ $check | quote }}]}
  periodSeconds: 10
  timeoutSeconds: 15
  failureThreshold: 10
livenessProbe:
  exec: {command: ["/bin/bash", "-c", {{ $check | quote }}]}
  periodSeconds: 10
  timeoutSeconds: 15
  failureThreshold: 12
{{- end -}}
