{{/* The Job of a stage; takes (dict "root" $ "name" STAGE "stage" OPTIONS). */}}

{{/* A Job's pod template is immutable, so a changed one is a new Job: its name ends in a hash of the template. */}}
{{- define "groot.jobName" -}}
{{- printf "%s-%s-%s" (include "groot.full" .root) .name (include "groot.jobSpec" . | sha256sum | trunc 8) -}}
{{- end -}}

{{/* Half of a Job's memory limit is requested. */}}
{{- define "groot.jobResources" -}}
{{- $jobs := .Values.cluster.jobs -}}
requests: {cpu: {{ $jobs.cpu | quote }}, memory: {{ div (include "groot.bytes" $jobs.memory | int64) 2 | quote }}}
limits: {memory: {{ $jobs.memory | quote }}}
{{- end -}}

{{/* Nodes and priority of the Jobs' pods. */}}
{{- define "groot.jobPlace" -}}
{{- $jobs := .Values.cluster.jobs -}}
{{- with $jobs.node_selector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $jobs.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $jobs.priority_class }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* The comments in this text are part of what is hashed: to edit one renames all Jobs. */}}
{{- define "groot.jobSpec" -}}
{{- $jobs := .root.Values.cluster.jobs -}}
{{- $retries := $jobs.retries -}}
{{- if hasKey .stage "retries" }}{{ if not (kindIs "invalid" .stage.retries) }}{{ $retries = .stage.retries }}{{ end }}{{ end -}}
completions: 1
parallelism: 1
backoffLimit: {{ int $retries }}
{{- if and (not $jobs.keep) (not (kindIs "invalid" $jobs.ttl)) }}
ttlSecondsAfterFinished: {{ int $jobs.ttl }}
{{- end }}
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    # A mistake stays one: command line, configuration, data, a failed predecessor, stopped by a person.
    - action: FailJob
      onExitCodes: {containerName: job, operator: In, values: [2, 64, 65, 66, 70]}
    # A lost node is nobody's fault.
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
template:
  metadata:
    labels:
      {{- include "groot.podLabels" (dict "root" .root "component" "job") | nindent 6 }}
      groot-ray/stage: {{ .name | quote }}
    annotations:
      cluster-autoscaler.kubernetes.io/safe-to-evict: "true"
  spec:
    {{- include "groot.pullSecrets" .root | nindent 4 }}
    restartPolicy: Never
    serviceAccountName: {{ include "groot.account" .root | quote }}
    enableServiceLinks: false
    terminationGracePeriodSeconds: 30
    securityContext:
      {{- include "groot.podSecurity" .root | nindent 6 }}
    {{- include "groot.jobPlace" .root | nindent 4 }}
    containers:
      - name: job
        image: {{ .root.Values.cluster.image.data | quote }}
        imagePullPolicy: {{ .root.Values.cluster.image.pull_policy }}
        {{- if $jobs.keep }}
        command: ["groot-ray"]
        {{- else }}
        command: ["python", "-m", "groot_ray.cluster.ownership", "/etc/groot-ray/release/owned.json", "groot-ray"]
        {{- end }}
        args:
          - job
          - {{ .name | quote }}
          - --document=/etc/groot-ray/release/document.json
          - --settings=/etc/groot-ray/release/stage-{{ .name }}.json
          - --digest={{ include "groot.digest" .root }}
        env:
          {{- $fixed := dict "POD_NAME" (dict "fieldRef" (dict "fieldPath" "metadata.name")) "JOB_NAME" (dict "fieldRef" (dict "fieldPath" "metadata.labels['batch.kubernetes.io/job-name']")) }}
          {{- with .root.Values.cluster.ray.token_secret }}
          {{- $_ := set $fixed "RAY_AUTH_TOKEN" (dict "secretKeyRef" (dict "name" . "key" "auth_token")) }}
          {{- end }}
          {{- include "groot.env" (dict "root" .root "own" (dict "HOME" "/tmp" "MALLOC_ARENA_MAX" "2") "fixed" $fixed) | nindent 10 }}
        {{- with include "groot.envFrom" .root }}
        envFrom: {{- . | nindent 10 }}
        {{- end }}
        resources:
          {{- include "groot.jobResources" .root | nindent 10 }}
        securityContext:
          {{- include "groot.containerSecurity" .root | nindent 10 }}
        terminationMessagePolicy: FallbackToLogsOnError
        volumeMounts:
          - {name: release, mountPath: /etc/groot-ray/release, readOnly: true}
          - {name: tmp, mountPath: /tmp}
          {{- include "groot.caMount" .root | nindent 10 }}
    volumes:
      - name: release
        configMap: {name: {{ include "groot.full" .root }}}
      - name: tmp
        emptyDir: {sizeLimit: 256Mi}
      {{- include "groot.caVolume" .root | nindent 6 }}
{{- end -}}
