{{/* Mistakes that the schema cannot tell, each answered with a sentence before anything is made. */}}
{{- define "groot.checks" -}}
{{- $experiment := .Values.experiment -}}
{{- $ray := .Values.cluster.ray -}}
{{- $storage := $experiment.storage | default dict -}}
{{- $uri := $storage.uri | default "./outputs" -}}
{{- if or (not (contains "://" $uri)) (hasPrefix "file://" $uri) -}}
{{- fail (printf "experiment.storage.uri is the folder %q, which pods would lose; give an s3://bucket/prefix" $uri) -}}
{{- end -}}
{{- $variables := .Values.cluster.environment.variables -}}
{{- $endpoint := ternary "" ($storage.endpoint | default "") (or (hasKey $variables "AWS_ENDPOINT_URL_S3") (hasKey $variables "AWS_ENDPOINT_URL")) -}}
{{- range $place, $address := dict "experiment.storage.endpoint" $endpoint "cluster.environment.variables.AWS_ENDPOINT_URL_S3" (get $variables "AWS_ENDPOINT_URL_S3") "cluster.environment.variables.AWS_ENDPOINT_URL" (get $variables "AWS_ENDPOINT_URL") "cluster.environment.variables.HF_ENDPOINT" (get $variables "HF_ENDPOINT") "cluster.environment.variables.WANDB_BASE_URL" (get $variables "WANDB_BASE_URL") -}}
{{- if regexMatch "^https?://(localhost|127\\.[0-9.]+|\\[::1\\])(:|/|$)" $address -}}
{{- fail (printf "%s is %q, which is each pod itself; give an address that pods reach" $place $address) -}}
{{- end -}}
{{- end -}}
{{- range $place, $value := dict "experiment.storage.uri" $uri "experiment.storage.endpoint" ($storage.endpoint | default "") "experiment.source.uri" ($experiment.source.uri | default "") "cluster.environment.proxy" (.Values.cluster.environment.proxy | default "") -}}
{{- if regexMatch "://[^/]*@" $value -}}
{{- fail (printf "%s holds credentials; put them into a Secret and name it in cluster.environment.credentials" $place) -}}
{{- end -}}
{{- end -}}
{{- if not (include "groot.reachable" (dict "root" . "place" $experiment.source.uri)) -}}
{{- fail (printf "experiment.source.uri is the folder %q, which pods cannot see; copy it to s3:// or give a dataset of the hub (org/name)" $experiment.source.uri) -}}
{{- end -}}
{{- range $option := list "base" "tokenizer" -}}
{{- $place := dig "model" $option "" $experiment | default "" -}}
{{- if and $place (ne $place "tiny") (not (include "groot.reachable" (dict "root" $ "place" $place))) -}}
{{- fail (printf "experiment.model.%s is the folder %q, which pods cannot see; copy it to s3:// or give a repository of the hub (org/name)" $option $place) -}}
{{- end -}}
{{- end -}}
{{- if kindIs "string" $experiment.embodiment -}}
{{- if regexMatch "/|\\.ya?ml$" $experiment.embodiment -}}
{{- fail (printf "experiment.embodiment is the file %q, which pods cannot see; inline it: groot-ray experiment render EXPERIMENT.yaml > rendered.yaml" $experiment.embodiment) -}}
{{- end -}}
{{- end -}}
{{- if dig "training" "modality_config_path" "" $experiment -}}
{{- fail "experiment.training.modality_config_path is a file, which pods cannot see; describe the embodiment in the document instead" -}}
{{- end -}}
{{- if eq (toString (dig "training" "num_workers" 1 $experiment)) "0" -}}
{{- fail "experiment.training.num_workers 0 trains inside one process, without Ray's pods; give 1 or more" -}}
{{- end -}}
{{- if and (eq $ray.mode "external") (not $ray.address) -}}
{{- fail "cluster.ray.mode external needs cluster.ray.address, the http address of the Ray dashboard" -}}
{{- end -}}
{{- if and (eq $ray.mode "static") (not $ray.token_secret) -}}
{{- fail (printf "cluster.ray.mode static needs cluster.ray.token_secret: kubectl -n %s create secret generic ray-token --from-literal=auth_token=$(openssl rand -hex 32)" .Release.Namespace) -}}
{{- end -}}
{{- if and .Values.cluster.queue (ne $ray.mode "kuberay") -}}
{{- fail "cluster.queue needs cluster.ray.mode kuberay, because Kueue admits RayClusters" -}}
{{- end -}}
{{- range $place, $variables := dict "cluster.environment.variables" .Values.cluster.environment.variables "cluster.ray.head.env" $ray.head.env "cluster.ray.cpu.env" $ray.cpu.env "cluster.ray.gpu.env" $ray.gpu.env -}}
{{- include "groot.noSecrets" (dict "place" $place "variables" $variables) -}}
{{- end -}}
{{- range $name, $stage := .Values.cluster.stages -}}
{{- include "groot.noSecrets" (dict "place" (printf "cluster.stages.%s.env" $name) "variables" ($stage.env | default dict)) -}}
{{- end -}}
{{- range $group := list "head" "cpu" "gpu" -}}
{{- include "groot.noSecrets" (dict "place" (printf "cluster.ray.%s.ray_start_params" $group) "variables" (index $ray $group).ray_start_params) -}}
{{- end -}}
{{- include "groot.checkOrder" . -}}
{{- range $group := list "head" "cpu" "gpu" -}}
{{- $pod := index $ray $group -}}
{{- include "groot.noReserved" (dict "place" (printf "cluster.ray.%s.labels" $group) "names" (keys $pod.labels)) -}}
{{- include "groot.noReserved" (dict "place" (printf "cluster.ray.%s.annotations" $group) "names" (keys $pod.annotations)) -}}
{{- range $name := keys $pod.resources | sortAlpha -}}
{{- if has $name (list "cpu" "memory" $pod.gpu_resource) -}}
{{- fail (printf "cluster.ray.%s.resources.%s has an option of its own: cpu_request, memory or gpus" $group $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "groot.noReserved" (dict "place" "cluster.monitoring.pod_monitor_labels" "names" (keys .Values.cluster.monitoring.pod_monitor_labels)) -}}
{{- include "groot.noReserved" (dict "place" "cluster.monitoring.dashboard_labels" "names" (keys .Values.cluster.monitoring.dashboard_labels)) -}}
{{- range .Values.cluster.volumes.volumes -}}
{{- if has .name (list "scratch" "tmp" "shared-memory" "ca-bundle") -}}
{{- fail (printf "cluster.volumes.volumes has a volume %q, a name that the chart's own volume has; give it another" .name) -}}
{{- end -}}
{{- end -}}
{{- if lt (include "groot.bytes" .Values.cluster.jobs.memory | int64) 100663296 -}}
{{- fail (printf "cluster.jobs.memory is %s, and a Job needs 80 MB; give 96Mi or more" .Values.cluster.jobs.memory) -}}
{{- end -}}
{{- end -}}

{{/*
Whether Ray's pods can reach a source or model: a text that is empty where not. Takes (dict "root" $ "place" PLACE), its URI or its name on
the hub. Folders can be in a volume of the pods, or be shared by the machines of a Ray cluster that exists.
*/}}
{{- define "groot.reachable" -}}
{{- $cluster := .root.Values.cluster -}}
{{- if or (eq $cluster.ray.mode "external") (and (regexMatch "^[^/.]+://|^[^/.~][^/]*/[^/]+$" .place) (not (hasPrefix "file://" .place))) }}yes{{ end -}}
{{- range $cluster.volumes.mounts -}}
{{- if hasPrefix (printf "%s/" (trimSuffix "/" .mountPath)) (trimPrefix "file://" $.place) }}yes{{ end -}}
{{- end -}}
{{- end -}}

{{/* Stages that follow each other: names that exist, no circle, and at least one to run. */}}
{{- define "groot.checkOrder" -}}
{{- $stages := .Values.cluster.stages -}}
{{- $enabled := list -}}
{{- $pipeline := list "download" "convert" "finetune" "evaluate" -}}
{{- range $name, $stage := $stages -}}
{{- if ne (toString $stage.enabled) "false" }}{{ $enabled = append $enabled $name }}{{ end -}}
{{- if not (or $stage.after (has $name $pipeline)) -}}
{{- fail (printf "cluster.stages.%s is none of %s; a stage that is added needs cluster.stages.%s.after, the stage that it follows" $name (join ", " $pipeline) $name) -}}
{{- end -}}
{{- if and $stage.after (not (hasKey $stages $stage.after)) -}}
{{- fail (printf "cluster.stages.%s.after names %q, which is no stage; there are %s" $name $stage.after (keys $stages | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- range $name := keys $stages | sortAlpha -}}
{{- $way := list $name -}}
{{- range until (len $stages) -}}
{{- with (index $stages (last $way)).after }}{{ $way = append $way . }}{{ end -}}
{{- end -}}
{{- if gt (len $way) (len $stages) -}}
{{- fail (printf "cluster.stages.%s.after leads round in a circle: %s" $name (join " after " (slice $way 0 (int (add1 (len (uniq $way))))))) -}}
{{- end -}}
{{- end -}}
{{- if not $enabled -}}
{{- fail "cluster.stages has no stage that is enabled" -}}
{{- end -}}
{{- $split := dig "evaluation" "split" "test" .Values.experiment -}}
{{- if and (has "evaluate" $enabled) (ne $split "train") (eq (toString (dig "splits" $split 0 .Values.experiment)) "0") -}}
{{- fail (printf "experiment.evaluation.split is %s, but experiment.splits.%s keeps no episode back; give it a number of episodes, or evaluate what was trained on (split: train)" $split $split) -}}
{{- end -}}
{{- end -}}

{{/* Labels and annotations by which the chart, its NetworkPolicies and KubeRay find their pods. */}}
{{- define "groot.noReserved" -}}
{{- range $name := .names | sortAlpha -}}
{{- if regexMatch "^(groot-ray|app\\.kubernetes\\.io|ray\\.io)/" $name -}}
{{- fail (printf "%s has %q, which the chart sets itself; take a name of your own" $.place $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "groot.noSecrets" -}}
{{- range $name, $value := .variables -}}
{{- if regexMatch "(?i)SECRET|PASSWORD|PASSWD|CREDENTIAL|PRIVATE_KEY|API_KEY|ACCESS_KEY|(^|_)TOKEN$" $name -}}
{{- fail (printf "%s.%s looks like a secret; put it into a Secret and name that in cluster.environment.credentials" $.place $name) -}}
{{- end -}}
{{- if regexMatch "://[^/\\s]*@" $value -}}
{{- fail (printf "%s.%s holds credentials; put them into a Secret and name it in cluster.environment.credentials" $.place $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
