{{/* Sizes that follow from the experiment. */}}

{{/* The most training processes. */}}
{{- define "groot.trainers" -}}
{{- $n := dig "training" "num_workers" 1 .Values.experiment -}}
{{- if kindIs "slice" $n -}}{{ max (int (index $n 0)) (int (index $n 1)) }}{{- else -}}{{ int $n }}{{- end -}}
{{- end -}}

{{/* The most pods of each group of a stage, {"cpu": N, "gpu": N} as JSON; takes (dict "root" $ "stage" STAGE). */}}
{{- define "groot.pods" -}}
{{- $trainers := include "groot.trainers" .root | int -}}
{{- $perPod := .root.Values.cluster.ray.gpu.gpus | default 1 | int -}}
{{- $cpu := .stage.cpu | default 0 -}}
{{- $gpu := .stage.gpu | default 0 -}}
{{- $useGpu := dig "training" "use_gpu" true .root.Values.experiment -}}
{{- if kindIs "invalid" $useGpu }}{{ $useGpu = true }}{{ end -}}
{{- $cpuPods := ternary $trainers (int $cpu) (eq (toString $cpu) "training") -}}
{{- $gpuPods := ternary (div (sub (add $trainers $perPod) 1) $perPod) (int $gpu) (eq (toString $gpu) "training") -}}
{{- if not $useGpu -}}
{{- $asked := ternary $trainers (int $gpu) (eq (toString $gpu) "training") -}}
{{- dict "cpu" (max $cpuPods $asked) "gpu" 0 | toJson -}}
{{- else -}}
{{- dict "cpu" $cpuPods "gpu" $gpuPods | toJson -}}
{{- end -}}
{{- end -}}

{{/* Bytes of a quantity such as 160Mi; takes the text. groot_ray.experiment.cluster.quantity does the same. */}}
{{- define "groot.bytes" -}}
{{- $factors := include "groot.factors" . | fromJson -}}
{{- mulf (regexFind "^[0-9.]+" . | float64) (get $factors (regexFind "[A-Za-z]*$" .)) | int64 -}}
{{- end -}}

{{/* An image reference; takes (dict "root" $ "image" data|train|REFERENCE). */}}
{{- define "groot.image" -}}
{{- if eq .image "data" -}}{{ .root.Values.cluster.image.data }}
{{- else if eq .image "train" -}}{{ .root.Values.cluster.image.train }}
{{- else -}}{{ .image }}{{- end -}}
{{- end -}}

{{/* Seconds in which Ray drains a node, and for which the kubelet waits: time to save < drain < grace period. */}}
{{- define "groot.drain" -}}{{ add (int .Values.cluster.ray.save_seconds) 15 }}{{- end -}}
{{- define "groot.grace" -}}{{ add (int .Values.cluster.ray.save_seconds) 45 }}{{- end -}}
