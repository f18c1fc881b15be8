{{/*
Rules that compare two options; each mistake gets a sentence before anything is created. What one option can say by itself is in
values.schema.json, which is generated from groot_ray/experiment.
*/}}
{{- define "groot.checks" -}}
{{- $cluster := .Values.cluster -}}
{{- $ray := $cluster.ray -}}
{{- include "groot.checkEndpoint" . -}}
{{- include "groot.checkFolders" . -}}
{{- if and (eq $ray.mode "external") (not $ray.address) -}}
{{- fail "cluster.ray.mode external needs cluster.ray.address, the http address of the Ray dashboard" -}}
{{- end -}}
{{- if and (eq $ray.mode "static") (not $ray.token_secret) -}}
{{- fail (printf "cluster.ray.mode static needs cluster.ray.token_secret: kubectl -n %s create secret generic ray-token --from-literal=auth_token=$(openssl rand -hex 32)" .Release.Namespace) -}}
{{- end -}}
{{- if and $cluster.queue (ne $ray.mode "kuberay") -}}
{{- fail "cluster.queue needs cluster.ray.mode: kuberay, because Kueue admits RayClusters" -}}
{{- end -}}
{{- range $group := list "head" "cpu" "gpu" -}}
{{- $pod := index $ray $group -}}
{{- if hasKey $pod.resources $pod.gpu_resource -}}
{{- fail (printf "cluster.ray.%s.resources.%s has an option of its own: cluster.ray.%s.gpus" $group $pod.gpu_resource $group) -}}
{{- end -}}
{{- end -}}
{{- $workers := dig "training" "num_workers" 1 .Values.experiment -}}
{{- if kindIs "slice" $workers -}}
{{- if gt (index $workers 0 | int64) (index $workers 1 | int64) -}}
{{- fail (printf "experiment.training.num_workers: the range %v is upside down; give [min, max]" $workers) -}}
{{- end -}}
{{- end -}}
{{- include "groot.checkMemory" . -}}
{{- include "groot.checkOrder" . -}}
{{- include "groot.checkSplit" . -}}
{{- end -}}

{{/* The endpoint of storage, where no variable wins over it: pods must reach it. */}}
{{- define "groot.checkEndpoint" -}}
{{- $endpoint := .Values.experiment.storage.endpoint | default "" -}}
{{- range include "groot.s3Endpoints" . | fromJsonArray -}}
{{- if hasKey $.Values.cluster.environment.variables . }}{{ $endpoint = "" }}{{ end -}}
{{- end -}}
{{- if regexMatch (include "groot.ownHost" .) $endpoint -}}
{{- fail (printf "experiment.storage.endpoint is %q; it must be %s" $endpoint (include "groot.podAddress" .)) -}}
{{- end -}}
{{- end -}}

{{/* Source and models lie where pods see them. */}}
{{- define "groot.checkFolders" -}}
{{- $experiment := .Values.experiment -}}
{{- if not (include "groot.reachable" (dict "root" . "place" $experiment.source.uri)) -}}
{{- fail (printf "experiment.source.uri is the folder %q, which pods cannot see; copy it to s3:// or give a dataset of the hub (org/name)" $experiment.source.uri) -}}
{{- end -}}
{{- range $option := list "base" "tokenizer" -}}
{{- $place := dig "model" $option "" $experiment | default "" -}}
{{- if and $place (ne $place "tiny") (not (include "groot.reachable" (dict "root" $ "place" $place))) -}}
{{- fail (printf "experiment.model.%s is the folder %q, which pods cannot see; copy it to s3:// or give a repository of the hub (org/name)" $option $place) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Whether Ray's pods can reach a source or model: an empty text if not. Takes (dict "root" $ "place" PLACE), its URI or its name on the hub.
A folder may be in a volume of the pods, or be shared by the machines of an existing Ray cluster.
*/}}
{{- define "groot.reachable" -}}
{{- $cluster := .root.Values.cluster -}}
{{- if or (eq $cluster.ray.mode "external") (and (regexMatch "^[^/.]+://|^[^/.~][^/]*/[^/]+$" .place) (not (hasPrefix "file://" .place))) }}yes{{ end -}}
{{- range $cluster.volumes.mounts -}}
{{- if hasPrefix (printf "%s/" (trimSuffix "/" .mountPath)) (trimPrefix "file://" $.place) }}yes{{ end -}}
{{- end -}}
{{- end -}}

{{/*
A Job's pod has enough memory. It is one option, but a pattern for quantities of 96Mi or more, in each unit, would be unreadable, and Helm
would print it.
*/}}
{{- define "groot.checkMemory" -}}
{{- $memory := .Values.cluster.jobs.memory -}}
{{- $least := include "groot.smallestJob" . -}}
{{- if lt (include "groot.bytes" $memory | int64) (include "groot.bytes" $least | int64) -}}
{{- fail (printf "cluster.jobs.memory is %s, and a Job needs 80 MB; give %s or more" $memory $least) -}}
{{- end -}}
{{- end -}}

{{/* Each stage follows one that the release has, none follows itself, and at least one is enabled. */}}
{{- define "groot.checkOrder" -}}
{{- $stages := .Values.cluster.stages -}}
{{- $enabled := list -}}
{{- range $name, $stage := $stages -}}
{{- if ne (toString $stage.enabled) "false" }}{{ $enabled = append $enabled $name }}{{ end -}}
{{- if and $stage.after (not (hasKey $stages $stage.after)) -}}
{{- fail (printf "cluster.stages.%s.after names %q, which this release does not have; it has %s" $name $stage.after (keys $stages | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- range $name := keys $stages | sortAlpha -}}
{{- $way := list $name -}}
{{- range until (len $stages) -}}
{{- with (index $stages (last $way)).after }}{{ $way = append $way . }}{{ end -}}
{{- end -}}
{{- if gt (len $way) (len $stages) -}}
{{- fail (printf "cluster.stages.%s.after forms a cycle: %s" $name (join " after " (slice $way 0 (int (add1 (len (uniq $way))))))) -}}
{{- end -}}
{{- end -}}
{{- if not $enabled -}}
{{- fail "cluster.stages has no enabled stage; enable at least one" -}}
{{- end -}}
{{- end -}}

{{/* An evaluation has episodes to evaluate. */}}
{{- define "groot.checkSplit" -}}
{{- $stage := .Values.cluster.stages.evaluate -}}
{{- $split := dig "evaluation" "split" "test" .Values.experiment -}}
{{- if and $stage (ne (toString (default dict $stage).enabled) "false") (ne $split "train") (eq (toString (dig "splits" $split 0 .Values.experiment)) "0") -}}
{{- fail (printf "experiment.evaluation.split is %s, but experiment.splits.%s keeps no episode back; give it a number of episodes, or evaluate what was trained on (split: train)" $split $split) -}}
{{- end -}}
{{- end -}}
