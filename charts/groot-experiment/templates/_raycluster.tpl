{{/* Whether the autoscaler runs: an empty text if not. Kueue admits only clusters without it. */}}
{{- define "groot.autoscaled" -}}
{{- if and (eq .Values.cluster.ray.mode "kuberay") (not .Values.cluster.queue) }}yes{{ end -}}
{{- end -}}

{{/* The RayCluster of a stage, which the stage's Job creates; takes (dict "root" $ "name" STAGE "stage" OPTIONS). */}}
{{- define "groot.raycluster" -}}
{{- $root := .root -}}
{{- $name := .name -}}
{{- $stage := .stage -}}
{{- $ray := .root.Values.cluster.ray -}}
{{- $queue := .root.Values.cluster.queue -}}
{{- $autoscaled := include "groot.autoscaled" .root -}}
{{- $pods := include "groot.pods" (dict "root" .root "stage" .stage) | fromJson -}}
apiVersion: ray.io/v1
kind: RayCluster
metadata:
  name: {{ include "groot.cluster" . }}
  namespace: {{ .root.Release.Namespace | quote }}
  labels:
    {{- include "groot.labels" .root | nindent 4 }}
    groot-ray/stage: {{ .name | quote }}
    groot-ray/digest: {{ include "groot.digest" .root | quote }}
    {{- with $queue }}
    kueue.x-k8s.io/queue-name: {{ . | quote }}
    {{- end }}
  annotations:
    # KubeRay starts Ray under a shell that ignores SIGTERM. The command of groot.rayPod replaces the shell by Ray, so pods end at once.
    ray.io/overwrite-container-cmd: "true"
spec:
  rayVersion: {{ $ray.version | quote }}
  authOptions: {mode: token}
  {{- if $autoscaled }}
  enableInTreeAutoscaling: true
  autoscalerOptions:
    version: v2
    idleTimeoutSeconds: {{ int $ray.idle_timeout }}
    imagePullPolicy: {{ .root.Values.cluster.image.pull_policy }}
    resources:
      requests: {cpu: {{ $ray.autoscaler_cpu | quote }}, memory: {{ $ray.autoscaler_memory | quote }}}
      limits: {memory: {{ $ray.autoscaler_memory | quote }}}
    env:
      - {name: HOME, value: /tmp}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
    securityContext:
      {{- include "groot.containerSecurity" .root | nindent 6 }}
  {{- end }}
  headGroupSpec:
    serviceType: ClusterIP
    rayStartParams: {{ include "groot.rayStart" (dict "root" .root "stage" .stage "group" "head") }}
    template:
      {{- include "groot.rayPod" (dict "root" .root "name" .name "stage" .stage "group" "head") | nindent 6 }}
  {{- if eq 0 (add (int $pods.cpu) (int $pods.gpu) | int) }}
  workerGroupSpecs: []
  {{- else }}
  workerGroupSpecs:
  {{- range $group := list "cpu" "gpu" }}
  {{- $most := int (index $pods $group) }}
  {{- if gt $most 0 }}
    - groupName: {{ $group }}
      replicas: {{ ternary $most 0 (not (empty $queue)) }}
      minReplicas: {{ ternary $most 0 (not (empty $queue)) }}
      maxReplicas: {{ $most }}
      numOfHosts: 1
      rayStartParams: {{ include "groot.rayStart" (dict "root" $root "stage" $stage "group" $group) }}
      template:
        {{- include "groot.rayPod" (dict "root" $root "name" $name "stage" $stage "group" $group) | nindent 8 }}
  {{- end }}
  {{- end }}
  {{- end }}
{{- end -}}

{{/* Settings of a stage's Job, as JSON: groot_ray.cluster.kube.settings.StageSettings. */}}
{{- define "groot.settings" -}}
{{- $mode := .root.Values.cluster.ray.mode -}}
{{- $settings := dict
  "release" (include "groot.full" .root)
  "instance" .root.Release.Name
  "namespace" .root.Release.Namespace
  "stage" .name
  "mode" $mode
  "digest" (include "groot.digest" .root)
  "cluster" (include "groot.cluster" .)
  "owner" (include "groot.full" .root)
-}}
{{- $left := list -}}
{{- range $other, $options := .root.Values.cluster.stages -}}
{{- if eq (toString $options.enabled) "false" -}}
{{- $left = append $left (include "groot.rayclusterName" (dict "root" $.root "name" $other)) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $settings "left" $left -}}
{{- if ne $mode "kuberay" }}{{ $_ := set $settings "former" (list (include "groot.rayclusterName" .)) }}{{ end -}}
{{- if .stage.after -}}
{{- $_ := set $settings "after" .stage.after -}}
{{- $before := index .root.Values.cluster.stages .stage.after -}}
{{- if ne (toString $before.enabled) "false" -}}
{{- $_ := set $settings "after_job" (include "groot.jobName" (dict "root" .root "name" .stage.after "stage" $before)) -}}
{{- end -}}
{{- end -}}
{{- if eq $mode "kuberay" -}}
{{- $_ := set $settings "manifest" (include "groot.raycluster" . | fromYaml) -}}
{{- else if eq $mode "static" -}}
{{- $pods := include "groot.pods" (dict "root" .root "stage" .stage) | fromJson -}}
{{- $_ := set $settings "replicas" (dict "head" 1 "cpu" (int $pods.cpu) "gpu" (int $pods.gpu)) -}}
{{- else -}}
{{- $_ := set $settings "address" .root.Values.cluster.ray.address -}}
{{- end -}}
{{- $settings | toJson -}}
{{- end -}}
