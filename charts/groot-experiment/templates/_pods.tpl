{{/* What all pods share, and the pods of Ray. */}}

{{- define "groot.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.cluster.security.run_as_user }}
runAsUser: {{ int . }}
{{- end }}
{{- with .Values.cluster.security.run_as_group }}
runAsGroup: {{ int . }}
fsGroup: {{ int . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "groot.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "groot.pullSecrets" -}}
{{- with .Values.cluster.image.pull_secrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
Environment of a container, each name once. A later layer wins: Python, proxy and CA bundle; "own" (for this kind of container);
cluster.environment.variables; "more" (of a group or stage); "fixed" (nobody may change it).
Takes (dict "root" $ "own" TEXTS "more" TEXTS "fixed" (TEXTS or valueFrom)); all but the root are optional.
*/}}
{{- define "groot.env" -}}
{{- $environment := .root.Values.cluster.environment }}
{{- $common := dict "PYTHONDONTWRITEBYTECODE" "1" "PYTHONUNBUFFERED" "1" }}
{{- with $environment.proxy }}
{{- $direct := concat (list "localhost" "127.0.0.1" ".svc" ".cluster.local" (printf ".%s" $.root.Release.Namespace) "$(KUBERNETES_SERVICE_HOST)") (include "groot.hostsInside" $.root | fromJsonArray) $environment.no_proxy | uniq | join "," }}
{{- range list "HTTP_PROXY" "HTTPS_PROXY" "http_proxy" "https_proxy" }}{{ $_ := set $common . $environment.proxy }}{{ end }}
{{- range list "NO_PROXY" "no_proxy" }}{{ $_ := set $common . $direct }}{{ end }}
{{- end }}
{{- if $environment.ca_bundle }}
{{- range list "AWS_CA_BUNDLE" "REQUESTS_CA_BUNDLE" "SSL_CERT_FILE" "CURL_CA_BUNDLE" }}{{ $_ := set $common . "/etc/groot-ray/ca/ca.crt" }}{{ end }}
{{- end }}
{{- $layers := list $common (.own | default dict) $environment.variables (.more | default dict) (.fixed | default dict) }}
{{- range $i, $layer := $layers }}
{{- range $name, $value := $layer }}
{{- $again := false }}
{{- range slice $layers (int (add1 $i)) }}{{ if hasKey . $name }}{{ $again = true }}{{ end }}{{ end }}
{{- if not $again }}
- name: {{ $name | quote }}
  {{- if kindIs "map" $value }}
  valueFrom: {{ toJson $value }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Addresses of storage, hub, tracker and Ray in the values, as JSON. */}}
{{- define "groot.endpoints" -}}
{{- $variables := .Values.cluster.environment.variables -}}
{{- $addresses := list (dig "storage" "endpoint" "" .Values.experiment) -}}
{{- range include "groot.endpointVariables" . | fromJsonArray }}{{ $addresses = append $addresses (get $variables .) }}{{ end -}}
{{- append $addresses (.Values.cluster.ray.address | default "") | compact | toJson -}}
{{- end -}}

{{/* Hosts of these addresses inside the cluster: a Service's name alone, or a name that ends in .svc or .local; as JSON. */}}
{{- define "groot.hostsInside" -}}
{{- $hosts := list -}}
{{- range include "groot.endpoints" . | fromJsonArray -}}
{{- $host := regexReplaceAll ":[0-9]+$" (urlParse .).host "" -}}
{{- if regexMatch "^[^.:\\]]+$|\\.svc$|\\.local$" $host }}{{ $hosts = append $hosts $host }}{{ end -}}
{{- end -}}
{{- $hosts | uniq | toJson -}}
{{- end -}}

{{- define "groot.envFrom" -}}
{{- range .Values.cluster.environment.credentials }}
- secretRef: {name: {{ . | quote }}}
{{- end }}
{{- range .Values.cluster.environment.config_maps }}
- configMapRef: {name: {{ . | quote }}}
{{- end }}
{{- end -}}

{{- define "groot.caVolume" -}}
{{- with .Values.cluster.environment.ca_bundle }}
- name: ca-bundle
  configMap: {name: {{ . | quote }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end -}}

{{- define "groot.caMount" -}}
{{- if .Values.cluster.environment.ca_bundle }}
- {name: ca-bundle, mountPath: /etc/groot-ray/ca, readOnly: true}
{{- end }}
{{- end -}}

{{/*
A pod template of Ray; takes (dict "root" $ "name" STAGE "stage" OPTIONS "group" head|cpu|gpu). For static pods the chart writes the whole
command; KubeRay makes the arguments of `ray start` from rayStartParams.
*/}}
{{- define "groot.rayPod" -}}
{{- $root := .root -}}
{{- $pod := index .root.Values.cluster.ray .group -}}
{{- $static := eq .root.Values.cluster.ray.mode "static" -}}
{{- $grace := include "groot.grace" .root | int -}}
{{- $labels := dict "groot-ray/stage" .name "groot-ray/group" .group -}}
metadata:
  labels:
    {{- include "groot.podLabels" (dict "root" .root "component" "ray") | nindent 4 }}
    {{- range $key, $value := $labels }}
    {{ $key }}: {{ $value | quote }}
    {{- end }}
    {{- range $key, $value := $pod.labels }}
    {{ $key | quote }}: {{ $value | quote }}
    {{- end }}
  annotations:
    {{- $annotations := dict "groot-ray/digest" (include "groot.digest" .root) "cluster-autoscaler.kubernetes.io/safe-to-evict" "false" }}
    {{- range $key, $value := merge (dict) $pod.annotations $annotations }}
    {{ $key | quote }}: {{ $value | quote }}
    {{- end }}
spec:
  {{- include "groot.pullSecrets" .root | nindent 2 }}
  {{- with .root.Values.cluster.security.service_account }}
  serviceAccountName: {{ . | quote }}
  {{- end }}
  {{- if or (ne .group "head") (not (include "groot.autoscaled" .root)) }}
  # Only the autoscaler beside the head calls the API server. Workload identity has tokens of its own.
  automountServiceAccountToken: false
  {{- end }}
  enableServiceLinks: false
  {{- if not $static }}
  restartPolicy: {{ ternary "Always" "Never" (not (empty .root.Values.cluster.queue)) }}
  {{- end }}
  terminationGracePeriodSeconds: {{ $grace }}
  securityContext:
    {{- include "groot.podSecurity" .root | nindent 4 }}
  {{- with $pod.node_selector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.topology_spread }}
  topologySpreadConstraints:
  {{- range . }}
    {{- $constraint := deepCopy . }}
    {{- if not (hasKey $constraint "labelSelector") }}
    {{- $_ := set $constraint "labelSelector" (dict "matchLabels" (merge (dict "groot-ray/release" (include "groot.full" $root)) $labels)) }}
    {{- end }}
    - {{- toYaml $constraint | nindent 6 }}
  {{- end }}
  {{- end }}
  {{- with $pod.priority_class }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with $pod.runtime_class }}
  runtimeClassName: {{ . | quote }}
  {{- end }}
  containers:
    - name: ray-{{ .group }}
      image: {{ include "groot.image" (dict "root" .root "image" ($pod.image | default .stage.image | default "data")) | quote }}
      imagePullPolicy: {{ .root.Values.cluster.image.pull_policy }}
      {{- if $static }}
      command: ["/bin/bash", "-c"]
      args:
        - {{ include "groot.staticCommand" . | quote }}
      {{- include "groot.staticProbes" . | nindent 6 }}
      {{- else }}
      command: ["/bin/bash", "-c"]
      args: ["ulimit -n 65536; eval \"exec $KUBERAY_GEN_RAY_START_CMD\""]
      {{- end }}
      ports:
        {{- if eq .group "head" }}
        - {name: gcs-server, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        - {name: client, containerPort: 10001}
        {{- end }}
        - {name: metrics, containerPort: 8080}
      env:
        {{- /* Temporary files go to the scratch volume. RAY_TMPDIR keeps Ray's session (sockets, logs) in /tmp. */}}
        {{- $own := dict "HOME" "/scratch" "TMPDIR" "/scratch" "RAY_TMPDIR" "/tmp" "RAY_USAGE_STATS_ENABLED" "0" }}
        {{- $fixed := dict "GROOT_RAY_RELEASE" (include "groot.full" .root) "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S" (include "groot.drain" .root) }}
        {{- if $static }}
        {{- $_ := set $fixed "RAY_AUTH_MODE" "token" }}
        {{- $_ := set $fixed "RAY_AUTH_TOKEN" (dict "secretKeyRef" (dict "name" .root.Values.cluster.ray.token_secret "key" "auth_token")) }}
        {{- end }}
        {{- include "groot.env" (dict "root" .root "own" $own "more" (merge (dict) (.stage.env | default dict) $pod.env) "fixed" $fixed) | nindent 8 }}
      {{- with include "groot.envFrom" .root }}
      envFrom: {{- . | nindent 8 }}
      {{- end }}
      resources:
        requests:
          cpu: {{ $pod.cpu_request | default (toString $pod.cpus) | quote }}
          memory: {{ $pod.memory | quote }}
          {{- include "groot.podResources" $pod | nindent 10 }}
        limits:
          memory: {{ $pod.memory | quote }}
          {{- include "groot.podResources" $pod | nindent 10 }}
      securityContext:
        {{- include "groot.containerSecurity" .root | nindent 8 }}
      volumeMounts:
        - {name: scratch, mountPath: /scratch}
        - {name: tmp, mountPath: /tmp}
        - {name: shared-memory, mountPath: /dev/shm}
        {{- include "groot.caMount" .root | nindent 8 }}
        {{- with .root.Values.cluster.volumes.mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: scratch
      {{- if $pod.cache.storage_class }}
      ephemeral:
        volumeClaimTemplate:
          spec:
            accessModes: [ReadWriteOnce]
            storageClassName: {{ $pod.cache.storage_class | quote }}
            resources: {requests: {storage: {{ $pod.cache.size | quote }}}}
      {{- else }}
      emptyDir: {sizeLimit: {{ $pod.cache.size | quote }}}
      {{- end }}
    - name: tmp
      emptyDir: {sizeLimit: {{ $pod.tmp_size | quote }}}
    - name: shared-memory
      emptyDir:
        medium: Memory
        {{- with $pod.shared_memory }}
        sizeLimit: {{ . | quote }}
        {{- end }}
    {{- include "groot.caVolume" .root | nindent 4 }}
    {{- with .root.Values.cluster.volumes.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* Extended resources of a pod: GPUs, RDMA. */}}
{{- define "groot.podResources" -}}
{{- if gt (int .gpus) 0 }}
{{ .gpu_resource | quote }}: {{ int .gpus | quote }}
{{- end }}
{{- range $name, $value := .resources }}
{{ $name | quote }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* A text quoted as one word for the shell; KubeRay's autoscaler reads plain numbers and quoted JSON. */}}
{{- define "groot.word" -}}
{{- if regexMatch "^[-A-Za-z0-9_./:,=@%+]+$" . }}{{ . }}{{ else }}{{ printf "'%s'" (replace "'" "'\\''" .) }}{{ end -}}
{{- end -}}

{{/*
Parameters of `ray start`, quoted for the shell, as a mapping in JSON; takes what groot.rayPod takes. The head runs drivers only, unless the
stage has no other pods.
*/}}
{{- define "groot.rayStart" -}}
{{- $pod := index .root.Values.cluster.ray .group -}}
{{- $pods := include "groot.pods" (dict "root" .root "stage" .stage) | fromJson -}}
{{- $alone := eq 0 (add (int $pods.cpu) (int $pods.gpu) | int) -}}
{{- $parameters := dict "num-cpus" (toString (int $pod.cpus)) "num-gpus" (toString (int $pod.gpus)) "metrics-export-port" "8080" "object-spilling-directory" "/scratch" -}}
{{- if eq .group "head" -}}
{{- $_ := set $parameters "dashboard-host" "0.0.0.0" -}}
{{- $_ := set $parameters "num-gpus" "0" -}}
{{- if not $alone }}{{ $_ := set $parameters "num-cpus" "0" }}{{ end -}}
{{- end -}}
{{- with $pod.object_store_memory }}{{ $_ := set $parameters "object-store-memory" (int64 . | toString) }}{{ end -}}
{{- range $key, $value := $pod.ray_start_params }}{{ $_ := set $parameters $key (include "groot.word" $value) }}{{ end -}}
{{- $parameters | toJson -}}
{{- end -}}
